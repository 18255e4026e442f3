/** What a test in a guest needs besides this repository: QEMU, a kernel, and the modules of its disk. As root on Debian they are installed, else it is said what is missing. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

export interface Prerequisites {
  readonly qemu: string;
  readonly kernel: string;
  /** In the order in which they are loaded; none where a kernel was named, which has them built in. */
  readonly diskModules: readonly string[];
}

const QEMU = "qemu-system-x86_64";
const QEMU_PACKAGE = "qemu-system-x86";
/** For virtual machines: but for the disk everything a guest needs is built in. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const DISK_MODULES = [
  "virtio/virtio_ring",
  "virtio/virtio",
  "virtio/virtio_pci_legacy_dev",
  "virtio/virtio_pci_modern_dev",
  "virtio/virtio_pci",
  "block/virtio_blk",
];

/** @returns or why it cannot be had @param cacheDir where a kernel is unpacked */
export function prerequisites(cacheDir: string): Prerequisites | string {
  if (process.platform !== "linux" || process.arch !== "x64")
    return `the guest is an x86 Linux, this is ${process.platform} on ${process.arch}`;
  if (!runs(process.env["CC"] ?? "cc", "--version")) return "there is no C compiler";
  const how = `apt-get install ${QEMU_PACKAGE}, and set PINION_GUEST_KERNEL to a vmlinuz with NUMA, ext4 and virtio disks built in`;
  const mayInstall = process.getuid?.() === 0 && runs("apt-get", "--version");
  if (!runs(QEMU, "--version")) {
    if (!mayInstall) return `${QEMU} is missing, and only root can install it: ${how}`;
    const problem = aptGet(["install", "-y", "--no-install-recommends", QEMU_PACKAGE]);
    if (problem !== undefined) return `${QEMU_PACKAGE} cannot be installed (${problem}): ${how}`;
  }
  const named = process.env["PINION_GUEST_KERNEL"];
  if (named !== undefined)
    return existsSync(named)
      ? { qemu: QEMU, kernel: named, diskModules: [] }
      : `there is no ${named} (PINION_GUEST_KERNEL)`;
  const kept = kernelIn(cacheDir);
  if (kept !== undefined) return { qemu: QEMU, ...kept };
  if (!mayInstall) return `there is no kernel for the guest, and only root can fetch one: ${how}`;
  const problem = fetchKernel(cacheDir);
  if (problem !== undefined) return `no kernel for the guest (${problem}): ${how}`;
  const fetched = kernelIn(cacheDir);
  return fetched === undefined
    ? `${KERNEL_PACKAGE} holds no kernel: ${how}`
    : { qemu: QEMU, ...fetched };
}

function kernelIn(cacheDir: string): Omit<Prerequisites, "qemu"> | undefined {
  const boot = join(cacheDir, "boot");
  const name = existsSync(boot) && readdirSync(boot).find((each) => each.startsWith("vmlinuz-"));
  if (!name) return undefined;
  const drivers = join(cacheDir, "lib/modules", name.replace("vmlinuz-", ""), "kernel/drivers");
  const diskModules = DISK_MODULES.map((each) => join(drivers, `${each}.ko`));
  const found = diskModules.map((path) => [path, `${path}.xz`].find((each) => existsSync(each)));
  return { kernel: join(boot, name), diskModules: found.filter((each) => each !== undefined) };
}

/** Unpacked beside the tests, not installed: this machine keeps its own. @returns what went wrong */
function fetchKernel(cacheDir: string): string | undefined {
  mkdirSync(cacheDir, { recursive: true });
  let packaged = dependencyOf(KERNEL_PACKAGE);
  if (packaged === undefined) {
    const problem = aptGet(["update"]);
    if (problem !== undefined) return problem;
    packaged = dependencyOf(KERNEL_PACKAGE);
  }
  if (packaged === undefined) return `${KERNEL_PACKAGE} is not known here`;
  const problem = aptGet(["download", packaged], cacheDir);
  if (problem !== undefined) return problem;
  for (const name of readdirSync(cacheDir).filter((each) => each.endsWith(".deb"))) {
    const archive = join(cacheDir, name);
    execFileSync("sh", [
      "-c",
      `dpkg --fsys-tarfile "$1" | tar -x -C "$2" --wildcards ./boot './lib/modules/*/kernel/drivers/*/virtio*'`,
      "sh",
      archive,
      cacheDir,
    ]);
    rmSync(archive);
  }
  return undefined;
}

/** The package with a version in its name that another one stands for. */
function dependencyOf(name: string): string | undefined {
  try {
    const text = execFileSync("apt-cache", ["depends", name], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    return /Depends: (linux-image-\S+)/.exec(text.toString())?.[1];
  } catch {
    return undefined;
  }
}

function aptGet(args: readonly string[], cwd?: string): string | undefined {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const attempt = (): string | undefined => {
    try {
      execFileSync("apt-get", ["-q", ...args], { cwd, env, stdio: ["ignore", "ignore", "pipe"] });
      return undefined;
    } catch (e) {
      const said = String((e as { stderr?: unknown }).stderr ?? e).trim();
      return said.split("\n").find((line) => line.startsWith("E:")) ?? said.split("\n")[0] ?? "";
    }
  };
  const problem = attempt();
  if (problem === undefined || args[0] === "update") return problem;
  // The lists of this machine may be missing or old.
  return aptGet(["update"]) ?? attempt();
}

export function runs(program: string, argument: string): boolean {
  try {
    execFileSync(program, [argument], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
