/* The first process of the guest: mounts what Node needs, runs it, and turns the machine off. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  const char *folders[][2] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/scratch"}};
  for (int i = 0; i < 4; i++) {
    mkdir(folders[i][1], 0755);
    mount(folders[i][0], folders[i][1], folders[i][0], 0, NULL);
  }
  setenv("HOME", "/scratch", 1);
  setenv("PATH", "/bin", 1);
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/node", "node", "--import", GUEST "/plain-types.mjs", "--conditions=source", GUEST "/start.mjs", (char *)NULL);
    perror("node");
    _exit(127);
  }
  int status = -1;
  while (waitpid(child, &status, 0) != child) continue;
  if (WIFSIGNALED(status)) printf("NUMA-GUEST ended by signal %d\n", WTERMSIG(status));
  else printf("NUMA-GUEST exit %d\n", WEXITSTATUS(status));
  fflush(stdout);
  sync();
  reboot(RB_POWER_OFF);
  return 0;
}
