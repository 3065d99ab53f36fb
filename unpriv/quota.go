package unpriv

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Quota is what a user may have on a file system, and has. A limit of 0 is
// none. What is over the soft limit is allowed for a time.
type Quota struct {
	Bytes, SoftBytes, HardBytes uint64
	Files, SoftFiles, HardFiles uint64
}

// dqblk is struct if_dqblk of <linux/quota.h>: sizes of limits are in KiB, the
// space used is in bytes.
type dqblk struct {
	HardBlocks, SoftBlocks, Space  uint64
	HardInodes, SoftInodes, Inodes uint64
	BlockTime, InodeTime           uint64
	Valid                          uint32
	_                              uint32
}

// getUserQuota is QCMD(Q_GETQUOTA, USRQUOTA) of <linux/quota.h>.
const getUserQuota = 0x800007 << 8

// UserQuota asks the kernel for the caller's quota on the file system of dir
// (quotactl(2)). Network and parallel file systems keep theirs elsewhere. An
// error says why the kernel knows of none: ESRCH if none is kept.
func UserQuota(dir string) (Quota, error) {
	f, err := os.Open(dir)
	if err != nil {
		return Quota{}, err
	}
	defer f.Close()
	var d dqblk
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), getUserQuota, uintptr(unix.Getuid()), uintptr(unsafe.Pointer(&d)), 0, 0)
	if errno == unix.ENOSYS { // before Linux 5.14
		errno, err = quotaOfDevice(f, &d)
	}
	if err != nil || errno != 0 {
		return Quota{}, errors.Join(err, asError(errno))
	}
	return Quota{
		Bytes: d.Space, SoftBytes: d.SoftBlocks << 10, HardBytes: d.HardBlocks << 10,
		Files: d.Inodes, SoftFiles: d.SoftInodes, HardFiles: d.HardInodes,
	}, nil
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("quotactl: %w", errno)
}

// quotaOfDevice asks by the name of the device that is mounted.
func quotaOfDevice(f *os.File, d *dqblk) (unix.Errno, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	device := mountSource(string(mounts), fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if device == "" {
		return unix.ENOTBLK, nil
	}
	name, err := unix.BytePtrFromString(device)
	if err != nil {
		return 0, err
	}
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL, getUserQuota, uintptr(unsafe.Pointer(name)), uintptr(unix.Getuid()), uintptr(unsafe.Pointer(d)), 0, 0)
	return errno, nil
}

// mountSource is the device of the mount whose number is major:minor in
// mountinfo (proc(5)), "" if it has no path.
func mountSource(mountinfo, number string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		id, source := strings.Fields(before), strings.Fields(after)
		if len(id) > 2 && id[2] == number && len(source) > 1 && strings.HasPrefix(source[1], "/") {
			return unescapeMount(source[1])
		}
	}
	return ""
}

// unescapeMount undoes the kernel's octal escapes of blanks and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ProbeXattr finds out whether files below dir can have attributes of users
// (xattr(7)), by giving one to a file and reading it back.
func ProbeXattr(dir string) (err error) {
	f, err := os.CreateTemp(dir, "probe")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	const name, want = "user.virga.probe", "x"
	if err := unix.Fsetxattr(int(f.Fd()), name, []byte(want), 0); err != nil {
		return fmt.Errorf("set attribute %s: %w", name, err)
	}
	got := make([]byte, 2)
	n, err := unix.Fgetxattr(int(f.Fd()), name, got)
	if err != nil || string(got[:max(n, 0)]) != want {
		return fmt.Errorf("attribute %s was set and reads %q: %w", name, got[:max(n, 0)], err)
	}
	return nil
}
