package inflate

import "math/bits"

// A table is indexed with the next bits of the input and tells what they mean.
// Codes longer than the first level's bits continue in a second level, whose
// place the first one tells.
//
// An entry is, from the low end:
//
//	bits 0-5    bits to drop: the code and the extra bits after it
//	bits 8-11   bits of the code alone; for a link, the bits of the second level
//	bit  13     end of block
//	bit  14     link to a second level
//	bit  15     exceptional: end of block, link, or no code at all
//	bits 16-30  literal byte, base of a length or distance, place of a second level
//	bit  31     literal
//
// The layout is libdeflate's (lib/deflate_decompress.c).
const (
	entryEnd         = 1 << 13
	entryLink        = 1 << 14
	entryExceptional = 1 << 15
	entryLiteral     = 1 << 31

	valueShift = 16
	codeShift  = 8
	codeMask   = 15
	dropMask   = 63
)

const (
	litBits  = 11
	distBits = 8
	preBits  = 7

	// Sizes are powers of two, so that a masked index needs no check, and hold the
	// first level and as many second ones of full size as there can be: two
	// codes at least share each.
	litSize  = 8192 // 1<<11 + 288/2<<4 = 4352
	distSize = 4096 // 1<<8 + 32/2<<7 = 2304
	preSize  = 128

	maxCodeBits = 15
	maxDistBits = maxCodeBits + 13
	endOfBlock  = 256
	maxLit      = 286
	maxDist     = 30
)

// lengthBase and the others are RFC 1951, section 3.2.5.
var (
	lengthBase = [29]uint16{
		3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31,
		35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
	}
	lengthExtra = [29]uint8{
		0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2,
		3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
	}
	distBase = [30]uint16{
		1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
		1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
	}
	distExtra = [30]uint8{
		0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8,
		9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
	}
	// lengthOrder is the order of the lengths of the code length code, section 3.2.7.
	lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// litEntry is the entry of a literal/length symbol, but for its code.
func litEntry(sym int) uint32 {
	switch {
	case sym < endOfBlock:
		return entryLiteral | uint32(sym)<<valueShift
	case sym == endOfBlock:
		return entryExceptional | entryEnd
	case sym-endOfBlock-1 < len(lengthBase):
		i := sym - endOfBlock - 1
		return uint32(lengthBase[i])<<valueShift | uint32(lengthExtra[i])
	}
	return entryExceptional // 286 and 287 take part in the fixed code, but mean nothing
}

func distEntry(sym int) uint32 {
	if sym >= len(distBase) {
		return entryExceptional // 30 and 31 likewise
	}
	return uint32(distBase[sym])<<valueShift | uint32(distExtra[sym])
}

func preEntry(sym int) uint32 { return uint32(sym) << valueShift }

// build fills a table with first levels of the given bits from the lengths of
// the codes of all symbols; 0 is a symbol without a code. It reports whether
// the lengths make a code: complete, or of a single bit, or empty, as zlib and compress/flate want it.
func build(table []uint32, level uint, lengths []uint8, entry func(sym int) uint32) bool {
	var count [maxCodeBits + 1]int
	longest := uint(0)
	for _, n := range lengths {
		count[n]++
		longest = max(longest, uint(n))
	}
	clear1 := table[:1<<level]
	for i := range clear1 {
		clear1[i] = entryExceptional
	}
	if longest == 0 {
		return true
	}
	count[0] = 0
	var next [maxCodeBits + 2]uint32
	code := uint32(0)
	for n := uint(1); n <= longest; n++ {
		code = (code + uint32(count[n-1])) << 1
		next[n] = code
	}
	code += uint32(count[longest])
	if code != 1<<longest && !(code == 1 && longest == 1) {
		return false
	}
	free := uint32(1) << level // where the next second level begins
	for sym, n := range lengths {
		if n == 0 {
			continue
		}
		n := uint(n)
		rev := bits.Reverse32(next[n]) >> (32 - n)
		next[n]++
		e := entry(sym)
		if n <= level {
			e = e + uint32(n) | uint32(n)<<codeShift
			for i := rev; i < 1<<level; i += 1 << n {
				table[i] = e
			}
			continue
		}
		second := longest - level
		link := &table[rev&(1<<level-1)]
		if *link&entryLink == 0 {
			*link = entryExceptional | entryLink | free<<valueShift | uint32(second)<<codeShift | uint32(level)
			for i := range uint32(1) << second {
				table[free+i] = entryExceptional
			}
			free += 1 << second
		}
		base := *link >> valueShift
		n -= level
		e = e + uint32(n) | uint32(n)<<codeShift
		for i := rev >> level; i < 1<<second; i += 1 << n {
			table[base+i] = e
		}
	}
	return true
}
