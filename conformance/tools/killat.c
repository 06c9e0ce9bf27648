/* killat: run a command and kill it at its Nth system call.
 *
 *   killat [-1] [-o REPORT] N COMMAND [ARGUMENTS...]
 *
 * Counts system-call entries of the command and of everything it forks, and sends SIGKILL on the
 * Nth, before the kernel executes it: what is left is the state after N-1 calls. Stops on exit of a
 * call need no counting of their own, their state is that of the next entry. By default every
 * process of the command dies at that moment; with -1 only the one that made the call.
 *
 * Exit code 200: killed. Otherwise the command ended by itself: 201 with success, 202 without.
 * REPORT gets one line: "killed N nr pid" or "ended COUNT status".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kMaxTasks = 256 };
static pid_t tasks[kMaxTasks];

static int remember(pid_t pid) {
  for (int i = 0; i < kMaxTasks; ++i)
    if (tasks[i] == pid) return 0;
  for (int i = 0; i < kMaxTasks; ++i)
    if (tasks[i] == 0) {
      tasks[i] = pid;
      return 1;
    }
  fprintf(stderr, "killat: too many tasks\n");
  exit(125);
}

static void forget(pid_t pid) {
  for (int i = 0; i < kMaxTasks; ++i)
    if (tasks[i] == pid) tasks[i] = 0;
}

static void kill_all(void) {
  for (int i = 0; i < kMaxTasks; ++i)
    if (tasks[i] != 0) kill(tasks[i], SIGKILL);
}

static int at_syscall_entry(pid_t pid, unsigned long long* number) {
  struct __ptrace_syscall_info info;
  memset(&info, 0, sizeof info);
  if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void*)sizeof info, &info) < 0) return 0;
  *number = info.entry.nr;
  return info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

static void usage(void) {
  fprintf(stderr, "usage: killat [-1] [-o REPORT] N COMMAND [ARGUMENTS...]\n");
  exit(125);
}

int main(int argc, char** argv) {
  int only_one = 0;
  const char* report = NULL;
  int option;
  while ((option = getopt(argc, argv, "+1o:")) != -1) {
    if (option == '1')
      only_one = 1;
    else if (option == 'o')
      report = optarg;
    else
      usage();
  }
  if (argc - optind < 2) usage();
  const long limit = strtol(argv[optind], NULL, 10);
  char** command = argv + optind + 1;

  const pid_t first = fork();
  if (first < 0) {
    perror("killat: fork");
    return 125;
  }
  if (first == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    execv(command[0], command);
    _exit(126);
  }

  int status = 0;
  waitpid(first, &status, 0);
  const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                       PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, first, 0, options) < 0) {
    perror("killat: PTRACE_SETOPTIONS");
    kill(first, SIGKILL);
    return 125;
  }
  remember(first);
  ptrace(PTRACE_CONT, first, 0, 0); /* up to the exec nothing counts */

  int counting = 0, killed = 0, first_status = 0;
  long count = 0;
  unsigned long long number = 0, killed_number = 0;
  pid_t killed_pid = 0;
  for (;;) {
    const pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0) {
      if (errno == EINTR) continue;
      break; /* ECHILD: everything has ended */
    }
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (pid == first) first_status = status;
      forget(pid);
      continue;
    }
    remember(pid);
    const int sig = WSTOPSIG(status);
    const int event = status >> 16;
    int deliver = 0;
    if (event == PTRACE_EVENT_EXEC) {
      counting = 1;
    } else if (sig == (SIGTRAP | 0x80)) {
      if (counting && !killed && at_syscall_entry(pid, &number) && ++count == limit) {
        killed = 1;
        killed_number = number;
        killed_pid = pid;
        if (only_one)
          kill(pid, SIGKILL);
        else
          kill_all();
      }
    } else if (event == 0 && sig != SIGSTOP && sig != SIGTRAP) {
      deliver = sig;
    }
    if (killed && !only_one) kill(pid, SIGKILL); /* also one that was being born */
    ptrace(killed ? PTRACE_CONT : PTRACE_SYSCALL, pid, 0, deliver);
  }

  if (report != NULL) {
    FILE* out = fopen(report, "w");
    if (out != NULL) {
      if (killed)
        fprintf(out, "killed %ld %llu %d\n", limit, killed_number, (int)killed_pid);
      else
        fprintf(out, "ended %ld %d\n", count, first_status);
      fclose(out);
    }
  }
  if (killed) return 200;
  return WIFEXITED(first_status) && WEXITSTATUS(first_status) == 0 ? 201 : 202;
}
