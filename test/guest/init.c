/*
 * The first process of a guest: loads the kernel modules that came with it, mounts what Node needs, and the first partition of the first disk
 * where there is one, runs START, and turns the machine off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK "PINION-GUEST"
#define DISK "/dev/vda1"

/* In the order of their names. */
static void load_modules(void) {
  struct dirent **files;
  int count = scandir("/modules", &files, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    if (files[i]->d_name[0] == '.') continue;
    char path[512];
    snprintf(path, sizeof path, "/modules/%s", files[i]->d_name);
    int fd = open(path, O_RDONLY);
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) perror(path);
    close(fd);
  }
}

/* Gives the machine 127.0.0.1. */
static void start_loopback(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) perror("lo");
  close(fd);
}

int main(void) {
  const char *folders[][2] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/scratch"}};
  for (int i = 0; i < 4; i++) {
    mkdir(folders[i][1], 0755);
    mount(folders[i][0], folders[i][1], folders[i][0], 0, NULL);
  }
  load_modules();
  start_loopback();
  if (access(DISK, F_OK) == 0) {
    mkdir("/disk", 0755);
    if (mount(DISK, "/disk", "ext4", 0, NULL) != 0) perror(DISK);
  }
  setenv("HOME", "/scratch", 1);
  setenv("PATH", "/bin", 1);
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/node", "node", "--import", PLAIN_TYPES, "--conditions=source", START, (char *)NULL);
    perror("node");
    _exit(127);
  }
  int status = -1;
  while (waitpid(child, &status, 0) != child) continue;
  if (WIFSIGNALED(status)) printf(MARK " ended by signal %d\n", WTERMSIG(status));
  else printf(MARK " exit %d\n", WEXITSTATUS(status));
  fflush(stdout);
  sync();
  reboot(RB_POWER_OFF);
  return 0;
}
