package fakeroot

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageSize is the least that memory can be readable by; reads are split there.
const pageSize = 4096

// readMemory copies from the thread's memory; it returns how much was readable.
func (w *worker) readMemory(dst []byte, addr uint64) int {
	return w.vm(unix.SYS_PROCESS_VM_READV, dst, addr)
}

// writeMemory copies to the thread's memory, all or EFAULT. It does so only for
// a call that is still pending.
func (w *worker) writeMemory(addr uint64, src []byte) unix.Errno {
	if !w.alive() {
		return unix.ESRCH
	}
	if w.vm(unix.SYS_PROCESS_VM_WRITEV, src, addr) != len(src) {
		return unix.EFAULT
	}
	return 0
}

func (w *worker) vm(nr uintptr, local []byte, addr uint64) int {
	if len(local) == 0 || !w.arch().wide && addr > 1<<32-1 || uint64(uintptr(addr)) != addr {
		return 0
	}
	liov := unix.Iovec{Base: &local[0]}
	liov.SetLen(len(local))
	riov := unix.RemoteIovec{Base: uintptr(addr), Len: len(local)}
	n, _, errno := unix.RawSyscall6(nr, uintptr(w.req.pid), uintptr(unsafe.Pointer(&liov)), 1, uintptr(unsafe.Pointer(&riov)), 1, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// readString reads a string that ends in NUL into buf, which bounds it, and
// returns it without NUL: EFAULT if it is not readable, tooLong if it does not end.
func (w *worker) readString(buf []byte, addr uint64, tooLong unix.Errno) ([]byte, unix.Errno) {
	if addr == 0 {
		return nil, unix.EFAULT
	}
	for have := 0; have < len(buf); {
		// To the end of the page: the next one may not exist.
		want := min(pageSize-int((addr+uint64(have))%pageSize), len(buf)-have, 512)
		n := w.readMemory(buf[have:have+want], addr+uint64(have))
		if i := bytes.IndexByte(buf[have:have+n], 0); i >= 0 {
			return buf[:have+i], 0
		}
		if n < want {
			return nil, unix.EFAULT
		}
		have += n
	}
	return nil, tooLong
}

// readWords reads 32-bit numbers in the thread's byte order.
func (w *worker) readWords(n int, addr uint64) ([]uint32, unix.Errno) {
	b := make([]byte, 4*n)
	if w.readMemory(b, addr) != len(b) {
		return nil, unix.EFAULT
	}
	words := make([]uint32, n)
	for i := range words {
		words[i] = w.order().Uint32(b[4*i:])
	}
	return words, 0
}

// writeWords is the inverse of readWords.
func (w *worker) writeWords(addr uint64, words ...uint32) unix.Errno {
	b := make([]byte, 4*len(words))
	for i, v := range words {
		w.order().PutUint32(b[4*i:], v)
	}
	if len(b) == 0 {
		return 0
	}
	return w.writeMemory(addr, b)
}

func (w *worker) order() binary.ByteOrder {
	if w.arch().big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// arch returns what is known of the ABI of the current call.
func (w *worker) arch() *archInfo { return &arches[w.abi] }
