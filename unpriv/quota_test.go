package unpriv

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountSource(t *testing.T) {
	const info = `21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
23 21 8:1 /a /home rw shared:1 master:2 - ext4 /dev/a\040disk\134b rw,usrquota
24 21 0:51 / /nfs rw - nfs4 server:/export rw
broken
`
	for number, want := range map[string]string{"254:0": "/dev/vda", "8:1": `/dev/a disk\b`, "0:51": "", "0:20": "", "9:9": ""} {
		if got := mountSource(info, number); got != want {
			t.Errorf("%s: %q, want %q", number, got, want)
		}
	}
}

// Where the kernel knows a quota it is plausible; else it says why there is
// none, by both ways of asking.
func TestUserQuota(t *testing.T) {
	dir := t.TempDir()
	if q, err := UserQuota(dir); err == nil && (q.Bytes > 1<<60 || q.Files > 1<<60) {
		t.Errorf("implausible: %+v", q)
	} else if err != nil && !noQuota(err) {
		t.Error(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	errno, err := quotaOfDevice(f, &dqblk{})
	if err != nil || errno != 0 && !noQuota(errno) {
		t.Error(errno, err)
	}
	if _, err := UserQuota("/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func noQuota(err error) bool {
	for _, e := range []unix.Errno{unix.ESRCH, unix.ENOSYS, unix.ENOTSUP, unix.ENOTBLK, unix.EINVAL, unix.ENODEV, unix.ENOENT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func TestProbeXattr(t *testing.T) {
	dir := t.TempDir()
	if err := ProbeXattr(dir); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	// The kernel's own file systems have none, or no files.
	if err := ProbeXattr("/proc"); err == nil {
		t.Error("attributes in /proc")
	}
}
