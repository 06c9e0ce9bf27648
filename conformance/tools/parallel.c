/* parallel: run many sequences of plugins, some at a time, and say how long all of it took.
 *
 *   parallel WORKERS JOBS
 *
 * Each line of the file JOBS is one container: CNI_CONTAINERID, CNI_NETNS, then pairs of executable and file
 * for its stdin, all separated by tabs; the plugins of a line run one after the other, with the other CNI_
 * variables from the environment. Prints: wall-ns failures
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kMaxJobs = 10000 };
struct Shared {
  atomic_int next, failures;
};

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int run(char* executable, char* input) {
  const pid_t pid = vfork();
  if (pid == 0) {
    const int in = open(input, O_RDONLY), out = open("/dev/null", O_WRONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0) _exit(125);
    execl(executable, executable, NULL);
    _exit(126);
  }
  int status = 0;
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int job(char* line) {
  char* rest = line;
  setenv("CNI_CONTAINERID", strsep(&rest, "\t"), 1);
  setenv("CNI_NETNS", strsep(&rest, "\t"), 1);
  int ok = 1;
  while (rest) {
    char* executable = strsep(&rest, "\t");
    ok &= run(executable, strsep(&rest, "\t"));
  }
  return ok;
}

static void work(struct Shared* shared, char** lines, int count) {
  for (int i; (i = atomic_fetch_add(&shared->next, 1)) < count;)
    if (!job(lines[i])) atomic_fetch_add(&shared->failures, 1);
  _exit(0);
}

int main(int argc, char** argv) {
  static char* lines[kMaxJobs];
  FILE* file = argc == 3 ? fopen(argv[2], "r") : NULL;
  if (!file) return 125;
  int count = 0;
  size_t room = 0;
  while (count < kMaxJobs && getline(&lines[count], &room, file) > 0) {
    lines[count][strcspn(lines[count], "\n")] = 0;
    ++count;
    room = 0;
  }
  struct Shared* shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 125;
  const long long began = now();
  for (int i = 0; i < atoi(argv[1]); ++i)
    if (fork() == 0) work(shared, lines, count);
  while (wait(NULL) > 0) continue;
  printf("%lld %d\n", now() - began, atomic_load(&shared->failures));
  return 0;
}
