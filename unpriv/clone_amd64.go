//go:build !race

package unpriv

// sharesMemory says that a child can run in our memory until its execve(2), as
// after vfork(2), but while we go on: to copy the page tables of a large heap
// takes tens of milliseconds. It needs a stack of its own, and so a few lines of
// assembly language; other architectures copy, and so does the race detector,
// whose state of the calling thread the child would share.
const sharesMemory = true

// cloneVM is clone(2) with CLONE_VM. The child interprets p on the stack that ends
// at the given address.
//
//go:noescape
func cloneVM(flags, stack uintptr, p *program) (pid, errno uintptr)
