// Package inflate decompresses gzip (RFC 1952) and the DEFLATE inside
// (RFC 1951), faster than the readers that take their input byte by byte: it
// reads input in large pieces, keeps 56 bits of it in a register, decodes
// through wide tables, several literals a turn, and copies matches eight bytes
// at a time.
//
// It uses no unsafe code: a wrong index is a panic, never a stray write. What it
// accepts, and what it makes of that, is what compress/gzip does; fuzzing compares
// the two.
//
//	zr, err := inflate.NewReader(file)
//	...
//	io.Copy(w, zr)
//
// Who passes the bytes on to another goroutine calls Next instead of Read: it
// decodes into the caller's buffers, and nothing is copied.
package inflate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// ErrCorrupt says that the data are not what a compressor makes.
var ErrCorrupt = errors.New("corrupt data")

// ErrChecksum says that the data do not have the checksum or length that they
// are said to have.
var ErrChecksum = errors.New("invalid checksum")

// ErrHeader says that the data do not begin as gzip does.
var ErrHeader = errors.New("invalid header")

const (
	inSize  = 260 << 10 // more than callers' buffered readers hold, so that these are passed by
	window  = 32 << 10
	outSize = window + 256<<10
	// padding is what is appended to the input when it has ended, so that eight
	// bytes can be loaded up to its last one.
	padding = 64
	// maxTries bounds the reads that bring next to nothing.
	maxTries = 100
	// turnIn and turnOut bound what one turn of the loop takes and makes: two
	// loads of eight bytes; three literals and a match, copied up to sixteen bytes
	// at a time.
	turnIn  = 16
	turnOut = 3 + 258 + 16
	// almostFull is where more output is not worth starting on.
	almostFull = outSize - turnOut - window/2
)

// BufferSize is the length of the buffers that Next decodes into.
const BufferSize = outSize

// Reader reads the uncompressed bytes of a gzip stream, all its members. What
// follows the last member, and does not begin as one, is ignored. It is for one goroutine.
type Reader struct {
	src    io.Reader
	srcErr error // io.EOF or what else ended the input

	in    []byte // inBuf up to what has been read, and padding after the end
	inBuf []byte
	pos   int
	end   int // of the real input in in, once it has ended
	ended bool
	bits  uint64 // next bits of the input, lowest first
	n     uint   // how many of them count

	out    []byte
	outPos int // end of what is decoded
	given  int // end of what has been read by the caller
	first  int // where the member begins that a match may reach back to

	state  state
	last   bool // the block is the last of its member
	stored int  // bytes left of a stored block
	crc    uint32
	size   uint32
	err    error

	tail [window]byte // of what Next made last

	lit     [litSize]uint32
	dist    [distSize]uint32
	pre     [preSize]uint32
	lengths [maxLit + maxDist + 258]uint8
}

type state uint8

const (
	atHeader state = iota // of a block
	inStored
	inCodes
	atTrailer // of a member
)

// NewReader returns a Reader of r. It reads the first header.
func NewReader(r io.Reader) (*Reader, error) {
	z := &Reader{src: r, inBuf: make([]byte, inSize+padding)}
	z.in = z.inBuf[:0]
	if err := z.header(); err != nil {
		return nil, err
	}
	return z, nil
}

// Read implements io.Reader.
func (z *Reader) Read(p []byte) (int, error) {
	if z.out == nil {
		z.out = make([]byte, outSize)
	}
	for z.given == z.outPos {
		if z.err != nil {
			return 0, z.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		z.step()
	}
	n := copy(p, z.out[z.given:z.outPos])
	z.given += n
	return n, nil
}

// Next decodes into buf, which is BufferSize long, and returns the part of it
// that holds the next bytes. They may be read by others while Next is called
// again; the caller's buffer is used no more. At the end it returns io.EOF, and
// no bytes with any error. A Reader is read either by Read or by Next.
func (z *Reader) Next(buf []byte) ([]byte, error) {
	keep := min(z.outPos, window)
	z.first = max(0, z.first-(z.outPos-keep))
	copy(buf, z.tail[:keep])
	z.out, z.outPos = buf[:outSize], keep
	for z.err == nil && z.outPos <= almostFull {
		z.step()
	}
	if z.outPos == keep {
		return nil, z.err
	}
	made := z.out[keep:z.outPos]
	copy(z.tail[:], z.out[max(0, z.outPos-window):z.outPos])
	z.given = z.outPos
	return made, nil
}

// step makes more output, or sets err.
func (z *Reader) step() {
	if z.err = z.decode(); z.err == ErrCorrupt && z.overrun() != nil {
		z.err = z.short() // it was the padding that made no sense
	}
}

// decode makes more output, at most until the buffer is full. All output has
// been given if it is almost full already.
func (z *Reader) decode() error {
	if z.outPos > almostFull {
		shift := z.outPos - window
		copy(z.out, z.out[shift:z.outPos])
		z.outPos, z.given, z.first = window, window, max(0, z.first-shift)
	}
	start := z.outPos
	err := z.run()
	made := z.out[start:z.outPos]
	if z.state != atTrailer {
		z.crc = crc32.Update(z.crc, crc32.IEEETable, made)
		z.size += uint32(len(made))
		return err
	}
	if err != nil {
		return err
	}
	z.crc = crc32.Update(z.crc, crc32.IEEETable, made)
	z.size += uint32(len(made))
	return z.trailer()
}

// run decodes until the buffer is full or the member ends.
func (z *Reader) run() error {
	for {
		switch z.state {
		case atHeader:
			if z.last {
				z.state = atTrailer
				return nil
			}
			if err := z.blockHeader(); err != nil {
				return err
			}
		case inStored:
			if full, err := z.copyStored(); full || err != nil {
				return err
			}
		case inCodes:
			if err := z.codes(); err != nil {
				return err
			}
			if z.state == inCodes && z.outPos > outSize-turnOut {
				return nil
			}
		case atTrailer:
			return nil
		}
	}
}

// fill makes at least turnIn bytes of input available, with padding if it ends.
func (z *Reader) fill() error {
	if len(z.in)-z.pos >= turnIn {
		return nil
	}
	if z.ended {
		return z.short()
	}
	// The bytes that are in the register may be given back.
	keep := min(z.pos, 8)
	n := copy(z.inBuf, z.in[z.pos-keep:])
	z.pos = keep
	for tries := 0; n-keep < turnIn && !z.ended; tries++ {
		m, err := z.src.Read(z.inBuf[n:inSize])
		n += m
		if tries == maxTries {
			err = io.ErrNoProgress
		}
		if err != nil {
			z.srcErr, z.ended, z.end = err, true, n
		}
	}
	if z.ended {
		clear(z.inBuf[n : n+padding])
		n += padding
	}
	z.in = z.inBuf[:n]
	if z.ended {
		return z.overrun()
	}
	return nil
}

// overrun reports whether more input has been used than there was.
func (z *Reader) overrun() error {
	if z.ended && z.pos-int(z.n>>3) > z.end {
		return z.short()
	}
	return nil
}

// short is the error of input that ends too early.
func (z *Reader) short() error {
	if z.srcErr != nil && z.srcErr != io.EOF {
		return z.srcErr
	}
	return io.ErrUnexpectedEOF
}

// need makes n bits available, 48 at most.
func (z *Reader) need(n uint) error {
	if z.n >= n {
		return nil
	}
	if err := z.fill(); err != nil {
		return err
	}
	z.bits |= binary.LittleEndian.Uint64(z.in[z.pos:]) << z.n
	z.pos += int((63 - z.n) >> 3)
	z.n |= 56
	return nil
}

// take returns the next n bits, 16 at most.
func (z *Reader) take(n uint) (uint32, error) {
	if err := z.need(n); err != nil {
		return 0, err
	}
	v := uint32(z.bits) & (1<<n - 1)
	z.bits >>= n
	z.n -= n
	return v, nil
}

// align drops the bits up to the next byte, and gives back the bytes after that.
func (z *Reader) align() error {
	z.pos -= int(z.n >> 3)
	z.bits, z.n = 0, 0
	return z.overrun()
}

// blockHeader reads the header of a block (RFC 1951, section 3.2.3).
func (z *Reader) blockHeader() error {
	v, err := z.take(3)
	if err != nil {
		return err
	}
	z.last = v&1 != 0
	switch v >> 1 {
	case 0:
		return z.storedHeader()
	case 1:
		z.fixedTables()
	case 2:
		if err := z.dynamicTables(); err != nil {
			return err
		}
	default:
		return ErrCorrupt
	}
	z.state = inCodes
	return nil
}

func (z *Reader) storedHeader() error {
	if err := z.align(); err != nil {
		return err
	}
	b, err := z.bytes(4)
	if err != nil {
		return err
	}
	n := binary.LittleEndian.Uint16(b)
	if n != ^binary.LittleEndian.Uint16(b[2:]) {
		return ErrCorrupt
	}
	z.stored = int(n)
	z.state = inStored
	return nil
}

// bytes returns the next n bytes of the input, turnIn at most. The input is aligned.
func (z *Reader) bytes(n int) ([]byte, error) {
	if err := z.fill(); err != nil {
		return nil, err
	}
	b := z.in[z.pos : z.pos+n]
	z.pos += n
	return b, z.overrun()
}

func (z *Reader) copyStored() (full bool, err error) {
	for z.stored > 0 {
		if z.outPos == len(z.out) {
			return true, nil
		}
		if z.ended && z.pos >= z.end {
			return false, z.short()
		}
		avail := len(z.in)
		if z.ended {
			avail = z.end
		}
		if z.pos == avail {
			if err := z.fill(); err != nil {
				return false, err
			}
			continue
		}
		n := copy(z.out[z.outPos:], z.in[z.pos:min(avail, z.pos+z.stored)])
		z.pos += n
		z.outPos += n
		z.stored -= n
	}
	z.state = atHeader
	return false, nil
}

// fixedTables sets the code of section 3.2.6.
func (z *Reader) fixedTables() {
	l := z.lengths[:288]
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	build(z.lit[:], litBits, l, litEntry)
	l = l[:32]
	for i := range l {
		l[i] = 5
	}
	build(z.dist[:], distBits, l, distEntry)
}

// dynamicTables reads the codes of a block (section 3.2.7).
func (z *Reader) dynamicTables() error {
	v, err := z.take(14)
	if err != nil {
		return err
	}
	lits, dists, pres := int(v&31)+257, int(v>>5&31)+1, int(v>>10)+4
	if lits > maxLit || dists > maxDist {
		return ErrCorrupt
	}
	var pre [19]uint8
	for _, i := range lengthOrder[:pres] {
		n, err := z.take(3)
		if err != nil {
			return err
		}
		pre[i] = uint8(n)
	}
	if !build(z.pre[:], preBits, pre[:], preEntry) {
		return ErrCorrupt
	}
	if err := z.readLengths(lits + dists); err != nil {
		return err
	}
	if !build(z.lit[:], litBits, z.lengths[:lits], litEntry) ||
		!build(z.dist[:], distBits, z.lengths[lits:lits+dists], distEntry) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads n code lengths, themselves encoded.
func (z *Reader) readLengths(n int) error {
	for i := 0; i < n; {
		if err := z.need(preBits + 7); err != nil {
			return err
		}
		e := z.pre[z.bits&(preSize-1)]
		if e&entryExceptional != 0 {
			return ErrCorrupt
		}
		z.bits >>= e & dropMask
		z.n -= uint(e & dropMask)
		sym := e >> valueShift
		if sym < 16 {
			z.lengths[i] = uint8(sym)
			i++
			continue
		}
		var value uint8
		var extra, base uint
		switch sym {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			value, extra, base = z.lengths[i-1], 2, 3
		case 17:
			extra, base = 3, 3
		default:
			extra, base = 7, 11
		}
		v, err := z.take(extra)
		if err != nil {
			return err
		}
		again := int(base) + int(v)
		if i+again > n {
			return ErrCorrupt
		}
		for range again {
			z.lengths[i] = value
			i++
		}
	}
	return z.overrun()
}
