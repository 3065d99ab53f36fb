package fakeroot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// RootlessXattr is the extended attribute in which umoci, PRoot and others keep
// owners (https://rootlesscontaine.rs, message Resource). It is for import
// and export alone: links and devices cannot carry it, and "cp -a" copies it.
const RootlessXattr = "user.rootlesscontainers"

// noopID in the attribute means that the id on disk holds.
const noopID = math.MaxUint32

// EncodeRootless returns the attribute's value: a protocol buffer with the
// varints uid (field 1) and gid (field 2). Zero, the default, is left out.
func EncodeRootless(uid, gid uint32) []byte {
	b := []byte{}
	for i, id := range []uint32{uid, gid} {
		if id != 0 {
			b = append(b, byte(i+1)<<3)
			b = binary.AppendUvarint(b, uint64(id))
		}
	}
	return b
}

// DecodeRootless reads the attribute's value. Unknown fields are an error; an
// id that says "as on disk" is returned as 0, to which the disk's is mapped.
func DecodeRootless(b []byte) (uid, gid uint32, err error) {
	ids := map[byte]*uint32{1 << 3: &uid, 2 << 3: &gid}
	for len(b) > 0 {
		id, ok := ids[b[0]]
		if !ok {
			return 0, 0, fmt.Errorf("decode %s: unknown field %#x", RootlessXattr, b[0])
		}
		v, n := binary.Uvarint(b[1:])
		if n <= 0 || v > math.MaxUint32 {
			return 0, 0, errors.New("decode " + RootlessXattr + ": bad number")
		}
		if *id = uint32(v); v == noopID {
			*id = 0
		}
		b = b[1+n:]
	}
	return uid, gid, nil
}
