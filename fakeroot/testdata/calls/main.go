// calls makes the system calls of a 32-bit program, 16-bit ids and all, and
// prints what it got. It is built for 386 by the tests.
package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// The numbers of linux/arch/x86/entry/syscalls/syscall_32.tbl.
const (
	chown, lchown, setuid, getuid, setgroups16, getgroups16 = 182, 16, 23, 24, 81, 80
	chown32, getuid32, setresuid32, getresuid32, mknod      = 212, 199, 208, 209, 14
	setfsuid32, geteuid                                     = 215, 49
)

func call(nr uintptr, a ...uintptr) int32 {
	var p [3]uintptr
	copy(p[:], a)
	r, _, errno := syscall.RawSyscall(nr, p[0], p[1], p[2])
	if errno != 0 {
		return -int32(errno)
	}
	return int32(r)
}

func path(s string) uintptr {
	p, err := syscall.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	return uintptr(unsafe.Pointer(p))
}

func stat(name string) string {
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d:%o:%d:%d", st.Uid, st.Gid, st.Mode, st.Rdev, st.Size)
}

func main() {
	for _, name := range []string{"/tmp/a", "/tmp/b"} {
		if err := os.WriteFile(name, []byte("text"), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println(call(chown, path("/tmp/a"), 33, 0xffff), stat("/tmp/a"))
	fmt.Println(call(chown32, path("/tmp/b"), 100000, 0xffff), stat("/tmp/b"))
	fmt.Println(call(lchown, path("/tmp/b"), 0xffff, 7), stat("/tmp/b"))
	fmt.Println(call(mknod, path("/tmp/n"), syscall.S_IFCHR|0o600, 0x103), stat("/tmp/n"))
	groups := [2]uint16{8, 9}
	fmt.Println(call(setgroups16, 2, uintptr(unsafe.Pointer(&groups))))
	groups = [2]uint16{}
	fmt.Println(call(getgroups16, 2, uintptr(unsafe.Pointer(&groups))), groups)
	fmt.Println(call(setresuid32, ^uintptr(0), 100001, ^uintptr(0)), call(getuid), call(geteuid))
	var ids [3]uint32
	fmt.Println(call(getresuid32, uintptr(unsafe.Pointer(&ids[0])), uintptr(unsafe.Pointer(&ids[1])), uintptr(unsafe.Pointer(&ids[2]))), ids)
	fmt.Println(call(setuid, 0), call(getuid32), call(setfsuid32, 5), call(setfsuid32, 5))
}
