/* What a tenant tries in native code. The first argument names the attack; exit status 0: it has succeeded, 1: it was stopped,
 * 2: it could not be tried. Compiled by native.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PIDFD_SEND_SIGNAL 424 /* since Linux 5 the numbers are the same on all machines */
#define IO_URING_SETUP 425
#define OPEN_TREE 428
#define FSOPEN 430
#define PIDFD_OPEN 434
#define PIDFD_GETFD 438

static char secret[] = "the child's secret";

static pid_t sleeper(void) {
    pid_t pid = fork();
    if (!pid) {
        for (;;) pause();
    }
    return pid;
}

static int end(pid_t pid, int has_succeeded) {
    kill(pid, SIGKILL);
    waitpid(pid, 0, 0);
    return !has_succeeded;
}

static int read_memory(void) {
    char copy[sizeof secret] = "";
    struct iovec here = {copy, sizeof copy}, there = {secret, sizeof secret};
    pid_t pid = sleeper();
    return end(pid, syscall(SYS_process_vm_readv, pid, &here, 1L, &there, 1L, 0L) == sizeof secret);
}

static int take_descriptor(void) {
    pid_t pid = sleeper();
    int pidfd = syscall(PIDFD_OPEN, pid, 0);
    if (pidfd < 0) return end(pid, 0) + 1;
    return end(pid, syscall(PIDFD_GETFD, pidfd, 1, 0) >= 0);
}

static int io_uring(void) {
    char parameters[256] = {0};
    return syscall(IO_URING_SETUP, 1, parameters) < 0;
}

static int faults(void) { return syscall(SYS_userfaultfd, 1 | O_CLOEXEC) < 0; /* UFFD_USER_MODE_ONLY */ }

static int type_into_terminal(void) {
    char typed = '#', name[64];
    pid_t pid;
    int status, terminal, master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof name)) return 2;
    pid = fork();
    if (!pid) {
        setsid();
        terminal = open(name, O_RDWR);
        if (terminal < 0) _exit(2);
        _exit(ioctl(terminal, TIOCSTI, &typed) != 0);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* Calls that only root may make: any that works is a way out. */
static int privileged(void) {
    struct { unsigned bytes; int type; unsigned char handle[128]; } handle = {8, 1, {0}};
    char attributes[128] = {0}, handle_bytes[128] = {0};
    int root = open("/", O_RDONLY | O_DIRECTORY), own = open("/proc/self/ns/mnt", O_RDONLY), works = 0;
    memcpy(handle_bytes, &handle, sizeof handle_bytes);
    *(uint32_t *)attributes = 2; /* BPF_MAP_TYPE_ARRAY */
    works |= syscall(SYS_open_by_handle_at, root, handle_bytes, O_RDONLY) >= 0;
    works |= syscall(SYS_bpf, 5, attributes, sizeof attributes) >= 0; /* BPF_PROG_LOAD, of nothing */
    works |= mount("none", "/tmp", "tmpfs", 0, "") == 0;
    works |= mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0) == 0;
    works |= umount2("/proc", MNT_DETACH) == 0;
    works |= unshare(CLONE_NEWNS) == 0;
    works |= unshare(CLONE_NEWNET) == 0;
    works |= setns(own, CLONE_NEWNS) == 0;
    works |= syscall(SYS_pivot_root, ".", ".") == 0;
    works |= chroot("/") == 0;
    works |= syscall(OPEN_TREE, AT_FDCWD, "/", 1) >= 0;
    works |= syscall(FSOPEN, "tmpfs", 0) >= 0;
    works |= syscall(SYS_init_module, attributes, 0, "") == 0;
    works |= sethostname("mine", 4) == 0;
    works |= syscall(SYS_clock_settime, CLOCK_REALTIME, &(struct timespec){0, 0}) == 0;
    works |= mknod("/tmp/hostel-device", S_IFCHR | 0666, 0x101) == 0;
    return !works;
}

static int regain_root(void) {
    uint32_t header[2] = {0x20080522, 0}, all[6];
    int works = 0;
    memset(all, 255, sizeof all);
    works |= setresuid(0, 0, 0) == 0 || setresuid(-1, 0, -1) == 0 || setresuid(-1, -1, 0) == 0 || setreuid(0, -1) == 0;
    works |= setresgid(0, 0, 0) == 0 || setresgid(-1, 0, -1) == 0 || setgid(0) == 0;
    works |= syscall(SYS_setgroups, 1, &(gid_t){0}) == 0;
    works |= syscall(SYS_capset, header, all) == 0;
    works |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0) == 0; /* CAP_SYS_ADMIN */
    works |= prctl(PR_SET_SECUREBITS, 0) == 0;
    syscall(SYS_setfsuid, 0);
    works |= syscall(SYS_setfsuid, -1) == 0; /* it says what it was */
    works |= geteuid() == 0 || getegid() == 0;
    return !works;
}

/* What else can be done to a process whose number is known. */
static int touch(pid_t pid) {
    struct rlimit none = {0, 0};
    char byte;
    struct iovec here = {&byte, 1}, there = {secret, 1};
    cpu_set_t cpus;
    int pidfd = syscall(PIDFD_OPEN, pid, 0), works = 0;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    works |= prlimit(pid, RLIMIT_NOFILE, &none, 0) == 0;
    works |= setpriority(PRIO_PROCESS, pid, 19) == 0;
    works |= sched_setaffinity(pid, sizeof cpus, &cpus) == 0;
    works |= sched_setscheduler(pid, SCHED_IDLE, &(struct sched_param){0}) == 0;
    works |= syscall(SYS_rt_sigqueueinfo, pid, SIGTERM, &(siginfo_t){.si_code = SI_QUEUE}) == 0;
    works |= syscall(SYS_tgkill, pid, pid, SIGTERM) == 0;
    works |= syscall(SYS_process_vm_readv, pid, &here, 1L, &there, 1L, 0L) >= 0;
    works |= syscall(SYS_process_vm_writev, pid, &here, 1L, &there, 1L, 0L) >= 0;
    works |= syscall(SYS_ptrace, 16, pid, 0, 0) == 0; /* PTRACE_ATTACH */
    works |= syscall(SYS_move_pages, pid, 0L, 0, 0, 0, 0) == 0;
    if (pidfd >= 0) {
        works |= syscall(PIDFD_SEND_SIGNAL, pidfd, SIGTERM, 0, 0) == 0;
        works |= syscall(PIDFD_GETFD, pidfd, 0, 0) >= 0;
    }
    return !works;
}

static int take_precedence(void) {
    int works = setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 5) == 0;
    works |= sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}) == 0;
    works |= sched_setscheduler(0, SCHED_RR, &(struct sched_param){1}) == 0;
    works |= syscall(SYS_ioprio_set, 1, 0, 1 << 13) == 0; /* real time */
    return !works;
}

/* The system calls of another table have other numbers: a filter that does not know that is passed by. */
static int other_tables(void) {
#ifdef __x86_64__
    long answer = -1;
    pid_t pid = fork();
    int status;
    if (!pid) {
        if (syscall(0x40000000 + 521, 0, 0, 0, 0) == 0) _exit(0); /* ptrace of x32 */
        __asm__ volatile("int $0x80" : "=a"(answer) : "a"(26), "b"(0), "c"(0), "d"(0), "S"(0) : "memory"); /* of i386 */
        _exit(answer != 0);
    }
    waitpid(pid, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#else
    return 1;
#endif
}

/* Exchange two names as often as is said, or until a file is there; says how often. */
static int swap(const char *one, const char *other, long times) {
    long done = 0;
    while (done < times && syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2) == 0) done++;
    printf("%ld\n", done);
    return done < times;
}

/* Never the same process for longer than a moment: who looks for it finds one that has gone. */
static int run_away(const char *name) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    if (fork()) return 0;
    setsid();
    prctl(PR_SET_NAME, name);
    for (;;) {
        if (fork() > 0) _exit(0);
        setsid();
        usleep(200);
    }
}

int main(int count, char **words) {
    const char *name = count > 1 ? words[1] : "";
    if (!strcmp(name, "read-memory")) return read_memory();
    if (!strcmp(name, "take-descriptor")) return take_descriptor();
    if (!strcmp(name, "io-uring")) return io_uring();
    if (!strcmp(name, "faults")) return faults();
    if (!strcmp(name, "terminal")) return type_into_terminal();
    if (!strcmp(name, "privileged")) return privileged();
    if (!strcmp(name, "root")) return regain_root();
    if (!strcmp(name, "precedence")) return take_precedence();
    if (!strcmp(name, "other-tables")) return other_tables();
    if (!strcmp(name, "touch")) return touch(atoi(words[2]));
    if (!strcmp(name, "swap")) return swap(words[2], words[3], atol(words[4]));
    if (!strcmp(name, "run-away")) return run_away(words[2]);
    return 2;
}
