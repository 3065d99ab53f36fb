package inflate

import (
	"encoding/binary"
	"io"
)

// Flags of a member's header (RFC 1952, section 2.3.1).
const (
	flagCRC     = 1 << 1
	flagExtra   = 1 << 2
	flagName    = 1 << 3
	flagComment = 1 << 4
	flagsKnown  = 0x1f
)

// header reads the header of a member.
func (z *Reader) header() error {
	b, err := z.bytes(10)
	if err != nil {
		return err
	}
	flags := b[3]
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return ErrHeader
	}
	if flags&flagExtra != 0 {
		if b, err = z.bytes(2); err != nil {
			return err
		}
		if err := z.skip(int(binary.LittleEndian.Uint16(b))); err != nil {
			return err
		}
	}
	for _, f := range []byte{flagName, flagComment} {
		if flags&f != 0 {
			if err := z.skipString(); err != nil {
				return err
			}
		}
	}
	if flags&flagCRC != 0 {
		if err := z.skip(2); err != nil {
			return err
		}
	}
	z.state, z.last = atHeader, false
	z.crc, z.size, z.first = 0, 0, z.outPos
	return nil
}

func (z *Reader) skip(n int) error {
	for n > 0 {
		m := min(n, turnIn)
		if _, err := z.bytes(m); err != nil {
			return err
		}
		n -= m
	}
	return nil
}

func (z *Reader) skipString() error {
	for {
		b, err := z.bytes(1)
		if err != nil || b[0] == 0 {
			return err
		}
	}
}

// trailer checks the end of a member, and begins the next one if there is one.
func (z *Reader) trailer() error {
	if err := z.align(); err != nil {
		return err
	}
	b, err := z.bytes(8)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) != z.crc || binary.LittleEndian.Uint32(b[4:]) != z.size {
		return ErrChecksum
	}
	if err := z.fill(); err != nil {
		return err
	}
	if z.ended && z.end-z.pos < 2 || z.in[z.pos] != 0x1f || z.in[z.pos+1] != 0x8b {
		return z.drain()
	}
	return z.header()
}

// drain reads what follows the last member.
func (z *Reader) drain() error {
	for !z.ended {
		if _, err := z.src.Read(z.inBuf); err != nil {
			z.srcErr, z.ended = err, true
		}
	}
	if z.srcErr != io.EOF {
		return z.srcErr
	}
	return io.EOF
}
