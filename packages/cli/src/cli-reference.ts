/** `docs/cli.md`, made of what `--help` prints, so that the two cannot differ. */
import type { Command } from "commander";
import { CommandFrame, type CliIo } from "./command-frame.ts";
import { makeProgram } from "./run-cli.ts";

const WIDTH = 100;

const HEAD = `# The pinion command

Made from \`pinion --help\` by a test; edit the help texts, then run \`pnpm unit cli-reference -u\`.

In a checkout of this repository the command is \`npm run pinion -- …\`.

`;

export function cliReference(io: CliIo): string {
  const program = makeProgram(new CommandFrame(io));
  const sections = program.commands.map(
    (command) => `## pinion ${command.name()}\n\n${block(helpOf(command))}`,
  );
  return `${HEAD}${block(helpOf(program))}\n${sections.join("\n")}\n${ERRORS}`;
}

const block = (text: string): string => `\`\`\`text\n${text.trimEnd()}\n\`\`\`\n`;

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => void (text += part),
    getOutHelpWidth: () => WIDTH,
  });
  command.outputHelp();
  return text;
}

const ERRORS = `## Errors

Without \`--json\` an error goes to standard error as \`error[code]: what happened\`, with what to do
about it below. With \`--json\` it is a document on standard output:

\`\`\`json
{
  "error": {
    "code": "unknown-actor-type",
    "message": "…",
    "retry": "never",
    "details": {},
    "hints": []
  }
}
\`\`\`

\`code\` is one of the runtime's error codes, or \`usage\`, \`no-host\` or \`internal\` of the command
itself. \`--debug\` adds \`stack\`, and \`remoteStack\` of the actor's side.

Colours appear on a terminal only, and not where \`NO_COLOR\` is set.
`;
