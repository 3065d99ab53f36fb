package unpriv

import (
	"unsafe"

	"github.com/syndtr/gocapability/capability"
	"golang.org/x/sys/unix"
)

// capSet is a set of capabilities, one bit for each.
type capSet uint64

// containerCapabilities are those that Docker and Podman give a container by
// default.
func containerCapabilities() capSet {
	var s capSet
	for _, c := range []capability.Cap{
		capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_FSETID, capability.CAP_FOWNER, capability.CAP_MKNOD,
		capability.CAP_NET_RAW, capability.CAP_SETGID, capability.CAP_SETUID, capability.CAP_SETFCAP, capability.CAP_SETPCAP,
		capability.CAP_NET_BIND_SERVICE, capability.CAP_SYS_CHROOT, capability.CAP_KILL, capability.CAP_AUDIT_WRITE,
	} {
		s |= 1 << c
	}
	return s
}

// tracelessCapabilities are all but CAP_SYS_PTRACE. In a user namespace
// capabilities are harmless but for one thing: virga is in the same namespace.
// Having one capability less than it, a program cannot get at its memory and
// files through /proc, wherever it finds it (ptrace(2), access mode checking).
func tracelessCapabilities() capSet {
	return ^capSet(0) &^ (1 << capability.CAP_SYS_PTRACE)
}

// bound makes sure that what is not in keep never comes back.
func (l *launch) bound(keep capSet) {
	for c := range 64 {
		if keep&(1<<c) == 0 {
			// EINVAL: the kernel knows fewer.
			l.do("give up capabilities", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0).but(unix.EINVAL)
		}
	}
}

// permitted are the capabilities that we have.
func permitted() capSet {
	var data [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]) != nil {
		return 0
	}
	return capSet(data[0].Permitted) | capSet(data[1].Permitted)<<32
}

// keepPermitted gives up what is not in keep, and what programs inherit, which
// the bounding set would let through, ambient capabilities included.
func (l *launch) keepPermitted(keep capSet) {
	keep &= permitted()
	low, high := uint32(keep), uint32(keep>>32)
	data := &[2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	l.do("give up capabilities", unix.SYS_CAPSET, unsafe.Pointer(header), unsafe.Pointer(data))
}
