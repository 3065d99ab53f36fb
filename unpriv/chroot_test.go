package unpriv

import (
	"os"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if !realRoot() {
		t.Skip("needs real root")
	}
}

func TestChroot(t *testing.T) {
	needRoot(t)
	if !inNamespaces(t, Entry{Isolation: Chroot}) {
		return
	}
	// Even capabilities that all our programs inherit do not get in.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Inheritable |= 1 << unix.CAP_SYS_ADMIN
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0); err != nil {
		t.Fatal(err)
	}

	root := newRoot(t)
	c := container(root, "show", "ids", "CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs", "pid")
	c.Chroot = true
	// chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
	// net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap: Docker's.
	const docker = "00000000a80425fb"
	const none = "0000000000000000"
	if got, want := runOK(t, c), strings.Join([]string{"0 0 []", docker, docker, docker, none, none, "1", "1", ""}, "\n"); got != want {
		t.Errorf("root: got %q, want %q", got, want)
	}
	c.Process.User = specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{55, 66}}
	if got, want := runOK(t, c), strings.Join([]string{"33 44 [55 66]", docker, none, none, none, none, "1", "1", ""}, "\n"); got != want {
		t.Errorf("user: got %q, want %q", got, want)
	}
}

// Owners and devices are real; the host is out of reach all the same.
func TestChrootCan(t *testing.T) {
	needRoot(t)
	if !inNamespaces(t, Entry{Isolation: Chroot}) {
		return
	}
	root := newRoot(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"chown", "/tmp"}, "<nil>\n"},
		{[]string{"mknod", "/tmp/null"}, "<nil>\n"},
		{[]string{"mount", "/tmp"}, "operation not permitted\n"},
		{[]string{"write", "/proc/sysrq-trigger", ""}, "helper: open /proc/sysrq-trigger: read-only file system\n"},
		{[]string{"write", "/proc/sys/kernel/hostname", "x"}, "helper: open /proc/sys/kernel/hostname: read-only file system\n"},
		{[]string{"cat", "/proc/kcore"}, ""},
		{[]string{"mkdir", "/sys/fs/cgroup/x"}, "helper: mkdir /sys/fs/cgroup/x: read-only file system\n"},
	} {
		c := container(root, tt.args...)
		c.Chroot = true
		if tt.args[0] == "write" || tt.args[0] == "cat" {
			if _, err := os.Stat(tt.args[1]); err != nil {
				continue
			}
		}
		if got, _, err := runOutput(t, c); err != nil || got != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.args, got, err, tt.want)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(root+"/tmp/null", &st); err != nil || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("device: %+v, %v", st, err)
	}
	if err := unix.Stat(root+"/tmp", &st); err != nil || st.Uid != 1234 {
		t.Errorf("owner: %+v, %v", st, err)
	}
}
