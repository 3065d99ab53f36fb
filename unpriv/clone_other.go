//go:build !amd64 || race

package unpriv

// sharesMemory: see clone_amd64.go.
const sharesMemory = false

func cloneVM(flags, stack uintptr, p *program) (pid, errno uintptr) {
	panic("BUG: not for this architecture")
}
