package inflate

import "encoding/binary"

// codes decodes literals and matches until the block or the room in the output
// ends.
func (z *Reader) codes() error {
	for {
		if err := z.fill(); err != nil {
			return err
		}
		ended, err := z.turns()
		if err == nil {
			err = z.overrun()
		}
		if ended {
			z.state = atHeader
		}
		if err != nil || ended || z.outPos > len(z.out)-turnOut {
			return err
		}
	}
}

// turns is codes for the input at hand. This is where the time goes:
// everything lives in local variables, and each turn checks once that it has
// input and room enough.
func (z *Reader) turns() (ended bool, err error) {
	lit, dist := &z.lit, &z.dist
	in, out := z.in, z.out
	pos, outPos := z.pos, z.outPos
	b, n := z.bits, z.n
	lastIn, lastOut := len(in)-turnIn, len(out)-turnOut
	first := z.first
	for pos <= lastIn && outPos <= lastOut {
		b |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		// Three literals of the first level are 33 bits at most, and leave 23: enough
		// for a length, which takes 20.
		e := lit[b&(1<<litBits-1)]
		if e&entryLiteral != 0 {
			b >>= e & dropMask
			n -= uint(e & dropMask)
			out[outPos] = byte(e >> valueShift)
			outPos++
			e = lit[b&(1<<litBits-1)]
			if e&entryLiteral != 0 {
				b >>= e & dropMask
				n -= uint(e & dropMask)
				out[outPos] = byte(e >> valueShift)
				outPos++
				e = lit[b&(1<<litBits-1)]
				if e&entryLiteral != 0 {
					b >>= e & dropMask
					n -= uint(e & dropMask)
					out[outPos] = byte(e >> valueShift)
					outPos++
					continue
				}
			}
		}
		if e&entryExceptional != 0 {
			if e&entryLink != 0 {
				b >>= litBits
				n -= litBits
				i := e>>valueShift + uint32(b)&(1<<(e>>codeShift&codeMask)-1)
				e = lit[i&(litSize-1)]
				if e&entryLiteral != 0 {
					b >>= e & dropMask
					n -= uint(e & dropMask)
					out[outPos] = byte(e >> valueShift)
					outPos++
					continue
				}
			}
			if e&entryExceptional != 0 {
				b >>= e & dropMask
				n -= uint(e & dropMask)
				if ended = e&entryEnd != 0; !ended {
					err = ErrCorrupt
				}
				break
			}
		}
		length := int(e>>valueShift) + int(b&(1<<(e&dropMask)-1)>>(e>>codeShift&codeMask))
		b >>= e & dropMask
		n -= uint(e & dropMask)

		if n < maxDistBits {
			b |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		e = dist[b&(1<<distBits-1)]
		if e&entryExceptional != 0 {
			if e&entryLink != 0 {
				b >>= distBits
				n -= distBits
				i := e>>valueShift + uint32(b)&(1<<(e>>codeShift&codeMask)-1)
				e = dist[i&(distSize-1)]
			}
			if e&entryExceptional != 0 {
				err = ErrCorrupt
				break
			}
		}
		distance := int(e>>valueShift) + int(b&(1<<(e&dropMask)-1)>>(e>>codeShift&codeMask))
		b >>= e & dropMask
		n -= uint(e & dropMask)
		if distance > outPos-first {
			err = ErrCorrupt
			break
		}
		if distance >= 8 && length <= 16 {
			// Most matches: two copies, and no branch that depends on the length.
			to := (*[16]byte)(out[outPos:])
			from := (*[16]byte)(out[outPos-distance:])
			binary.LittleEndian.PutUint64(to[:8], binary.LittleEndian.Uint64(from[:8]))
			binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
			outPos += length
			continue
		}
		outPos = match(out, outPos, distance, length)
	}
	z.pos, z.outPos, z.bits, z.n = pos, outPos, b, n
	return ended, err
}

// match repeats length bytes from distance bytes back, and may write up to
// eight bytes more. It returns the new end of the output.
func match(out []byte, pos, distance, length int) int {
	end := pos + length
	src := pos - distance
	if distance >= 8 {
		for pos < end {
			binary.LittleEndian.PutUint64(out[pos:], binary.LittleEndian.Uint64(out[src:]))
			pos += 8
			src += 8
		}
		return end
	}
	if distance == 1 {
		// A run of one byte, as of zeros between files.
		v := uint64(out[src]) * 0x0101010101010101
		for pos < end {
			binary.LittleEndian.PutUint64(out[pos:], v)
			pos += 8
		}
		return end
	}
	for pos < end {
		out[pos] = out[src]
		pos++
		src++
	}
	return end
}
