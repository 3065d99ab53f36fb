package layer

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// words are the components that fuzzed names and targets are made of.
var words = []string{"a", "b", "c", "l", ".", "..", "", ".wh.a", ".wh.l", ".wh..wh..opq", ".wh...", "outside", "secret", "dir", "dev", "\xff\n"}

// decodeImage makes an image of arbitrary bytes, two for a member and two for
// each component of its name, so that a fuzzer can build any sequence of
// members.
func decodeImage(data []byte, outside string) [][]entry {
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	path := func() string {
		b := next()
		var parts []string
		for range b % 4 {
			parts = append(parts, words[next()%len(words)])
		}
		p := strings.Join(parts, "/")
		switch b >> 5 {
		case 0:
			return "/" + p
		case 1:
			return outside + "/" + p
		}
		return p
	}
	kinds := []byte{tar.TypeReg, tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeChar}
	layers := [][]entry{nil}
	for len(data) > 0 {
		b := next()
		e := entry{Header: tar.Header{Typeflag: kinds[b%8], Name: path(), Mode: int64(next()) << 4, Uid: b}}
		switch e.Typeflag {
		case tar.TypeReg:
			e = file(strings.TrimSuffix(e.Name, "/"), "written").mode(e.Mode)
		case tar.TypeSymlink, tar.TypeLink:
			e.Linkname = path()
		}
		if b >= 240 {
			layers = append(layers, nil)
		}
		layers[len(layers)-1] = append(layers[len(layers)-1], e)
	}
	return layers
}

// FuzzUnpack looks for an image that changes something outside the root, that
// makes the unpacker panic or keep files open, or whose owners are of files that do not exist.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x03\x41\x03\x10\x42\x0b\x00\x42\x03\x00\x10"))
	f.Add([]byte("\x00\x41\x00\x10\xf3\x41\x03\x10\x25\x0c\xf0\x42\x03\x09\x10"))
	f.Add(bytes.Repeat([]byte("\x05\x43\x01\x04\x0b\x21\x42\x05\x0c"), 4))
	a := newArena(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 400 {
			return
		}
		if err := os.RemoveAll(a.root); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(a.root, 0o755); err != nil {
			t.Fatal(err)
		}
		var bs []Blob
		for _, es := range decodeImage(data, a.outside) {
			var b bytes.Buffer
			tw := tar.NewWriter(&b)
			for _, e := range es {
				if tw.WriteHeader(&e.Header) == nil {
					tw.Write([]byte(e.data))
				}
			}
			tw.Close()
			bs = append(bs, blob(b.Bytes()))
		}
		u, err := Unpack(t.Context(), a.root, bs, Options{})
		a.check(t)
		if err != nil {
			return
		}
		for path := range u.Owners {
			if _, err := os.Lstat(filepath.Join(a.root, path)); err != nil {
				t.Errorf("table knows %q, which is not there", path)
			}
		}
	})
}

// FuzzUnpackBytes gives the unpacker any bytes as a layer.
func FuzzUnpackBytes(f *testing.F) {
	plain := archive(f, dir("d"), file("d/f", "x"), sym("d/s", "../.."), hard("h", "d/f"), file("d/s/x", "y").xattr("user.x", "y"))
	f.Add(plain)
	f.Add(gz(f, plain))
	a := newArena(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.RemoveAll(a.root); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(a.root, 0o755); err != nil {
			t.Fatal(err)
		}
		Unpack(t.Context(), a.root, []Blob{blob(data)}, Options{})
		a.check(t)
	})
}
