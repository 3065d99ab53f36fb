package unpriv

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// NamespaceError says that this host lets ordinary users have no user
// namespace.
type NamespaceError struct {
	Err    error
	advice string
}

func newNamespaceError(err error) *NamespaceError {
	return &NamespaceError{Err: err, advice: namespaceAdvice(settings(), err)}
}

func (e *NamespaceError) Error() string {
	if errors.Is(e.Err, unix.ENOSPC) || errors.Is(e.Err, unix.EUSERS) {
		// The kernel's words would be of space on a device.
		return "create user namespace: this host does not allow it, or no more"
	}
	return fmt.Sprintf("create user namespace: %v: this host does not allow it", root(e.Err))
}

func (e *NamespaceError) Unwrap() error { return e.Err }

// Hint says what the site must set.
func (e *NamespaceError) Hint() string { return e.advice }

// forbidden reports whether err is what the kernel says where user namespaces
// are not allowed, by clone(2) or when the map is written.
func forbidden(err error) bool {
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// root is the innermost error, without the paths of os/exec.
func root(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// setting is a file that forbids user namespaces with one of its values, and
// what to do about that.
type setting struct{ file, bad, advice string }

func settings() []setting {
	return []setting{
		{"/proc/sys/user/max_user_namespaces", "0",
			"user.max_user_namespaces is 0; the administrator must set it, for example: sysctl user.max_user_namespaces=65536"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0",
			"kernel.unprivileged_userns_clone is 0; the administrator must set: sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
			`AppArmor restricts user namespaces; the administrator must give virga a profile with "userns,", or set: sysctl kernel.apparmor_restrict_unprivileged_userns=0`},
	}
}

// namespaceAdvice looks for the setting that forbids user namespaces.
func namespaceAdvice(settings []setting, err error) string {
	for _, s := range settings {
		if b, rerr := os.ReadFile(s.file); rerr == nil && strings.TrimSpace(string(b)) == s.bad {
			return s.advice
		}
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return "all user namespaces that user.max_user_namespaces allows are in use, or they are nested too deep; end some, or have the administrator raise it"
	}
	return "the kernel needs CONFIG_USER_NS, user.max_user_namespaces above 0, and no security policy (seccomp, SELinux, AppArmor) or chroot(2) against it; inside another container, allow it nested user namespaces"
}
