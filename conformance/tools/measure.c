/* measure: run one command from a small static process and say what it cost.
 *
 *   measure [-n REPEAT] STDIN STDOUT COMMAND [ARGUMENTS...]
 *
 * Prints one line per run on its own stdout:
 *   exit-code  wall-ns  cpu-ns  maxrss-KiB  all-ns
 * wall: from fork to the command's exit. cpu: user and system time of the command and of all its
 * descendants, also those it left running (this process is their subreaper). all: until the last of
 * them has ended. A plain fork, so that maxrss begins from this process's few pages: after vfork,
 * or from a large interpreter, the kernel would report the parent's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long cpu(const struct rusage* usage) {
  return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000000LL +
         (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1000LL;
}

static void child(char** argv) {
  const int in = open(argv[0], O_RDONLY), out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (in < 0 || out < 0) _exit(125);
  dup2(in, 0);
  dup2(out, 1);
  close(in);
  close(out);
  execv(argv[2], argv + 2);
  _exit(126);
}

int main(int argc, char** argv) {
  int repeat = 1, option;
  while ((option = getopt(argc, argv, "+n:")) != -1)
    if (option == 'n') repeat = atoi(optarg);
  if (argc - optind < 3) return 125;
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  for (int i = 0; i < repeat; ++i) {
    const long long began = now();
    const pid_t pid = fork();
    if (pid < 0) return 125;
    if (pid == 0) child(argv + optind);
    int status = 0;
    struct rusage usage;
    wait4(pid, &status, 0, &usage);
    const long long ended = now();
    const long rss = usage.ru_maxrss;
    long long spent = cpu(&usage);
    while (wait4(-1, NULL, 0, &usage) > 0)
      spent += cpu(&usage);
    printf("%d %lld %lld %ld %lld\n",
           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), ended - began, spent,
           rss, now() - began);
  }
  return 0;
}
