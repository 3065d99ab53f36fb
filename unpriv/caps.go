package unpriv

import (
	"github.com/syndtr/gocapability/capability"
	"golang.org/x/sys/unix"
)

// capSet is what a process of a container keeps.
type capSet struct{ bounding uint64 }

type capHeader struct {
	version uint32
	pid     int32
}

type capData struct{ effective, permitted, inheritable uint32 }

// containerCapabilities are those that Docker and Podman give a container by
// default.
func containerCapabilities() *capSet {
	s := &capSet{}
	for _, c := range []capability.Cap{
		capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_FSETID, capability.CAP_FOWNER, capability.CAP_MKNOD,
		capability.CAP_NET_RAW, capability.CAP_SETGID, capability.CAP_SETUID, capability.CAP_SETFCAP, capability.CAP_SETPCAP,
		capability.CAP_NET_BIND_SERVICE, capability.CAP_SYS_CHROOT, capability.CAP_KILL, capability.CAP_AUDIT_WRITE,
	} {
		s.bounding |= 1 << uint(c)
	}
	return s
}

// words is the set as capset(2) takes it: effective and permitted, nothing
// inheritable.
func (s *capSet) words() (capHeader, [2]capData) {
	low, high := uint32(s.bounding), uint32(s.bounding>>32)
	return capHeader{version: unix.LINUX_CAPABILITY_VERSION_3},
		[2]capData{{effective: low, permitted: low}, {effective: high, permitted: high}}
}
