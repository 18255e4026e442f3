/*
 * A copy out of memory that may turn out not to be there: a mapped file was cut short, its disk fails, a memory page is broken.
 * The kernel says so with SIGBUS, to the thread that reads.
 *
 * The handler is put in place at the first copy and stays; a signal outside a copy goes to whoever was there before.
 */
#include "memory.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>

/* Not NULL: this thread is copying. In static storage of the thread: in a handler nothing may be allocated. */
static _Thread_local sigjmp_buf *volatile jump __attribute__((tls_model("initial-exec")));
static struct sigaction previous;

static void on_bus_error(int signal, siginfo_t *info, void *context) {
  if (jump != NULL) siglongjmp(*jump, 1);
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    /* The instruction runs again and the kernel does what it does without a handler. */
    sigaction(SIGBUS, &previous, NULL);
  }
}

static void install(void) {
  /* SA_NODEFER: the handler is left by a jump, which does not restore the mask (that would be a system call per copy). */
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous);
}

bool guarded_copy(void *to, const void *from, size_t length) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) {
    jump = NULL;
    return false;
  }
  jump = &here;
  memcpy(to, from, length);
  jump = NULL;
  return true;
}
