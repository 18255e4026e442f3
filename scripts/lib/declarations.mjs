// Flattens the emitted .d.ts files behind a public entry into the declarations a user can reach:
// the exported ones, and whatever those mention. Text in, text out; no compiler needed, because
// emitted declarations have one shape: every statement starts in column 0.
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

const STATEMENT =
  /^(?:export|declare|import|type|interface|abstract|class|function|const|let|enum|namespace)\b/;
const NAMED =
  /^(?:export )?(?:default )?(?:declare )?(?:abstract )?(?:type|interface|class|function|const|let|enum|namespace) ([\w$]+)/;

/** Comments out, blank lines out. Strings are kept: a literal type may contain anything. */
function strip(text) {
  const token = /"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text
    .replace(token, (match) => (match.startsWith("/") ? "" : match))
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line.trim() !== "");
}

function statementsOf(text) {
  const statements = [];
  for (const line of strip(text)) {
    if (STATEMENT.test(line)) statements.push(line);
    else if (statements.length > 0) statements[statements.length - 1] += `\n${line}`;
  }
  return statements;
}

/** `a, type b as c` → [{ local: "a", name: "a" }, { local: "b", name: "c" }] */
function clauses(list) {
  return list
    .split(",")
    .map((item) => item.trim().replace(/^type /, ""))
    .filter((item) => item !== "")
    .map((item) => {
      const [local, name = local] = item.split(" as ").map((word) => word.trim());
      return { local, name };
    });
}

/** One emitted module: what it declares, imports and exports, by name. */
class Module {
  declarations = new Map(); // name → statements (several when overloaded)
  imports = new Map(); // local name → { from, name }; name "*" for a namespace
  exports = new Map(); // exported name → { from?, name }
  stars = []; // modules of `export * from`
  externals = new Map(); // local name → the import statement of another package

  constructor(path) {
    this.path = path;
    for (const statement of statementsOf(readFileSync(path, "utf8"))) this.#add(statement);
  }

  #resolve(specifier) {
    const path = resolve(dirname(this.path), specifier.replace(/\.[mc]?[jt]s$/, ".d.ts"));
    if (!existsSync(path))
      throw new Error(`${this.path} mentions ${specifier}, which was not emitted`);
    return path;
  }

  #add(statement) {
    const source = /\bfrom "([^"]+)";?$/.exec(statement)?.[1];
    const list = /^(?:import|export)(?: type)? (?:[\w$]+, )?\{([\s\S]*)\}/.exec(statement)?.[1];
    const star = /^(?:import|export)(?: type)? \*(?: as ([\w$]+))?/.exec(statement);
    if (statement.startsWith("import")) this.#addImport(statement, source, list, star?.[1]);
    else if (star !== null && star[1] === undefined) this.#addStar(statement, source);
    else if (star !== null)
      this.exports.set(star[1], { from: this.#sourceOf(source), name: "*", statement });
    else if (list !== undefined && !NAMED.test(statement)) {
      const from = this.#sourceOf(source);
      for (const { local, name } of clauses(list))
        this.exports.set(name, { from, name: local, statement });
    } else this.#addDeclaration(statement);
  }

  /** undefined: this module; null: another package. */
  #sourceOf(source) {
    if (source === undefined) return undefined;
    return source.startsWith(".") ? this.#resolve(source) : null;
  }

  #addImport(statement, source, list, namespace) {
    const locals = list === undefined ? [] : clauses(list);
    const byDefault = /^import (?:type )?([\w$]+)(?:,| from)/.exec(statement)?.[1];
    if (byDefault !== undefined) locals.push({ local: "default", name: byDefault });
    if (namespace !== undefined) locals.push({ local: "*", name: namespace });
    for (const { local, name } of locals) {
      const from = this.#sourceOf(source);
      if (from === null)
        this.externals.set(
          name,
          `import ${local === name ? name : `${local} as ${name}`} from "${source}";`,
        );
      else this.imports.set(name, { from, name: local });
    }
  }

  #addStar(statement, source) {
    const from = this.#sourceOf(source);
    if (from === null) this.exports.set(statement, { from, name: "*", statement });
    else this.stars.push(from);
  }

  #addDeclaration(statement) {
    const name = NAMED.exec(statement)?.[1] ?? statement;
    this.declarations.set(name, [...(this.declarations.get(name) ?? []), statement]);
    if (statement.startsWith("export ")) {
      this.exports.set(statement.startsWith("export default") ? "default" : name, { name });
    }
  }
}

/**
 * The public text of the entry whose emitted declaration file is `entryPath`: which names it
 * exports, then every reachable declaration once, in the order of names.
 */
export function flatten(entryPath) {
  const modules = new Map();
  const load = (path) => {
    if (!modules.has(path)) modules.set(path, new Module(path));
    return modules.get(path);
  };
  const reached = new Map(); // statement text → sort key
  const exported = [];

  const reachAll = (path, names) => {
    const module = load(path);
    for (const name of module.exports.keys()) {
      if (names.has(name)) continue;
      names.add(name);
      reachExport(path, name);
    }
    for (const from of module.stars) reachAll(from, names);
    return names;
  };
  const reachExport = (path, name) => {
    const module = load(path);
    const target = module.exports.get(name);
    if (target === undefined) return module.stars.some((from) => reachExport(from, name));
    if (target.from === null) reached.set(target.statement, `~${name}`);
    else if (target.from === undefined) reachLocal(module, target.name);
    else if (target.name === "*") reachAll(target.from, new Set());
    else reachExport(target.from, target.name);
    return true;
  };
  const reachLocal = (module, name) => {
    const imported = module.imports.get(name);
    if (imported?.name === "*") reachAll(imported.from, new Set());
    else if (imported !== undefined) reachExport(imported.from, imported.name);
    const external = module.externals.get(name);
    if (external !== undefined) reached.set(external, `~${name}`);
    for (const statement of module.declarations.get(name) ?? [])
      reachStatement(module, name, statement);
  };
  const reachStatement = (module, name, statement) => {
    if (reached.has(statement)) return;
    reached.set(statement, name);
    for (const [, source, inner] of statement.matchAll(/\bimport\("(\.[^"]+)"\)\.([\w$]+)/g)) {
      reachExport(resolve(dirname(module.path), source.replace(/\.[mc]?[jt]s$/, ".d.ts")), inner);
    }
    const words = new Set(statement.replaceAll(/"(?:\\.|[^"\\])*"/g, "").match(/[\w$]+/g));
    for (const word of words) if (word !== name) reachLocal(module, word);
  };

  exported.push(...reachAll(entryPath, new Set()));
  const byKey = ([a, keyA], [b, keyB]) => compare(keyA, keyB) || compare(a, b);
  const body = [...reached]
    .sort(byKey)
    .map(([statement]) => statement.replace(/^export (?!\*|\{)(?:declare )?|^declare /, ""));
  return `exports: ${exported.sort(compare).join(", ")}\n\n${body.join("\n")}\n`;
}

/** Code-unit order: the same on every machine, whatever its locale. */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
