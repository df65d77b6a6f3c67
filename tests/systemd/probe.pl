#!/usr/bin/perl
# What the process that runs this may do: one line each, NAME allowed or NAME refused (and why). In the sandbox of the unit
# nearly everything has to be refused; outside of it the same calls have to work, or this would prove nothing.
use strict;
use warnings;
use Errno;
use POSIX ();
use Socket;

my $machine = (POSIX::uname())[4];
my %calls = (
    x86_64 => {
        mmap => 9, mprotect => 10, ptrace => 101, personality => 135, mknod => 133, sched_setscheduler => 144, chroot => 161,
        mount => 165, reboot => 169, sethostname => 170, sched_setaffinity => 203, clock_settime => 227,
        add_key => 248, unshare => 272, perf_event_open => 298, bpf => 321, io_uring_setup => 425, setuid => 105,
    },
    aarch64 => {
        mmap => 222, mprotect => 226, ptrace => 117, personality => 92, mknodat => 33, sched_setscheduler => 119, chroot => 51,
        mount => 40, reboot => 142, sethostname => 161, sched_setaffinity => 122, clock_settime => 112,
        add_key => 217, unshare => 97, perf_event_open => 241, bpf => 280, io_uring_setup => 425, setuid => 146,
    },
);
my $number = $calls{$machine} or die "the numbers of system calls of $machine are not known here\n";
my ($directory, $log, $runtime) = @ARGV;

$| = 1;

# Each in a process of its own: what one call changes is not seen by the next.
sub try {
    my ($name, $attempt) = @_;
    my $child = open(my $result, '-|') // die "fork: $!";
    if ($child == 0) {
        $! = 0;
        print $attempt->() ? "allowed\n" : 'refused ' . ((grep { $!{$_} } keys %!)[0] // $!) . "\n";
        POSIX::_exit(0);
    }
    my $said = <$result> // "refused by a signal\n";
    close $result;
    print "$name $said";
}

sub call {
    my ($name, @arguments) = @_;
    my $result = syscall($number->{$name}, @arguments);
    return $result != -1;
}

sub writes { my ($path) = @_; return sub { open(my $file, '>', $path) && unlink $path } }
sub opens { my ($family) = @_; return sub { socket(my $socket, $family, SOCK_DGRAM, 0) } }

try 'write-etc', writes('/etc/sluicegate-probe');
try 'write-usr', writes('/usr/sluicegate-probe');
try 'write-var', writes('/var/sluicegate-probe');
try 'write-configuration', writes('/etc/sluicegate/probe');
try 'write-program', sub { open(my $file, '>>', '/usr/bin/false') };
try 'write-cgroup', sub { open(my $file, '>>', '/sys/fs/cgroup/cgroup.procs') };
try 'write-state', writes("$directory/probe");
try 'write-log', writes("$log/probe");
try 'write-runtime', writes("$runtime/probe");
try 'read-home', sub { opendir(my $handle, '/home') };
try 'read-root', sub { opendir(my $handle, '/root') };
try 'read-credentials', sub { opendir(my $handle, '/etc/sluicegate/credentials') };
try 'see-tmp', sub { -e '/tmp/sluicegate-probe-outside' };
try 'see-processes', sub { -e '/proc/1/status' };
try 'see-memory', sub { -e '/proc/meminfo' };

# PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS.
try 'map-executable', sub { call('mmap', 0, 4096, 7, 0x22, -1, 0) };
try 'make-executable', sub {
    my $page = syscall($number->{mmap}, 0, 4096, 3, 0x22, -1, 0);
    return $page != -1 && call('mprotect', $page, 4096, 5);
};
# Where it may write, it may not run what it wrote.
for my $place ($directory, $log, $runtime, '/tmp', '/var/tmp', '/dev/shm', '/run', '/etc', '/usr/bin') {
    (my $name = $place) =~ tr{/}{-};
    try "run-in$name", sub {
        my $path = "$place/sluicegate-probe-program";
        open(my $file, '>', $path) or return 0;
        print $file "#!/bin/sh\n";
        close $file;
        chmod 0700, $path;
        my $code = system {$path} $path;
        my $reason = $!;
        unlink $path;
        $! = $reason;
        return $code == 0;
    };
}
try 'set-suid', sub {
    my $path = "$directory/probe-suid";
    open(my $file, '>', $path) or return 0;
    my $done = chmod 04755, $path;
    my $reason = $!;
    unlink $path;
    $! = $reason;
    return $done;
};

try 'socket-inet', opens(AF_INET);
try 'socket-unix', opens(AF_UNIX);
try 'socket-netlink', opens(16);
try 'socket-packet', opens(17);
try 'socket-vsock', sub { socket(my $socket, 40, SOCK_STREAM, 0) };

try 'unshare-user', sub { call('unshare', 0x10000000) };
try 'unshare-mount', sub { call('unshare', 0x00020000) };
try 'personality', sub { call('personality', 0x0008) };
try 'realtime', sub { my $priority = pack('i', 1); call('sched_setscheduler', 0, 2, $priority) };
try 'pin-to-core', sub { my $mask = pack('Q', 1); call('sched_setaffinity', 0, 8, $mask) };
try 'mount', sub { my @words = ('none', '/mnt', 'tmpfs', ''); call('mount', @words[0 .. 2], 0, $words[3]) };
try 'ptrace', sub { call('ptrace', 0, 0, 0, 0) };
try 'bpf', sub { my $attributes = pack('x120'); call('bpf', 0, $attributes, 72) || $!{EINVAL} };
try 'perf', sub { my $attributes = pack('LLx112', 1, 112); call('perf_event_open', $attributes, 0, -1, -1, 0) };
try 'add-key', sub { my @words = ('user', 'probe', 'x'); call('add_key', @words, 1, -2) };
try 'set-hostname', sub { my $name = (POSIX::uname())[1]; call('sethostname', $name, length $name) };
# Wrong magic numbers: where it is not forbidden the kernel says EINVAL, and does nothing.
try 'reboot', sub { call('reboot', 0, 0, 0, 0) || $!{EINVAL} };
try 'set-clock', sub { my $bad = pack('qq', 0, -1); call('clock_settime', 0, $bad) || $!{EINVAL} };
try 'become-root', sub { call('setuid', 0) };
try 'chroot', sub { my $path = '/'; call('chroot', $path) };
try 'io-uring', sub { my $parameters = pack('x120'); call('io_uring_setup', 1, $parameters) };
try 'make-device', sub {
    my $path = "$directory/probe-device";
    my $done = $machine eq 'x86_64' ? call('mknod', $path, 0020600, 0x0103) : call('mknodat', -100, $path, 0020600, 0x0103);
    my $reason = $!;
    unlink $path;
    $! = $reason;
    return $done;
};

# The file systems that are mounted writable, for whoever is allowed to by their modes. Below /dev, /proc and /sys there are no
# files.
open(my $mounts, '<', '/proc/self/mountinfo') or die "mountinfo: $!";
my %options = map { (split ' ')[4, 5] } <$mounts>;
my @writable = grep { $options{$_} =~ /^rw/ && !m{^/(dev|proc|sys)(/(?!shm)|$)} } sort keys %options;
print "writable @writable\n";
