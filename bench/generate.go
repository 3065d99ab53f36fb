package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// perDirectory is how many files one directory of a made tree holds.
const perDirectory = 500

// fileName is that of file i.
func fileName(i int) string { return fmt.Sprintf("d%04d/file%d", i/perDirectory, i) }

// content returns n bytes that compress about as well as programs do: words
// that recur, and every fourth that never does.
func content(rng *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+16)
	for len(b) < n {
		if v := rng.Uint64(); v%4 == 0 {
			b = fmt.Appendf(b, "%016x", rng.Uint64())
		} else {
			b = fmt.Appendf(b, "%s%d", [...]string{"return ", "static const ", "libexec/", "0x00", "struct ", "\n\t"}[v>>8%6], v>>32%64)
		}
	}
	return b[:n]
}

// makeTree fills a directory with files that have so many bytes together.
func makeTree(dir string, files, bytes int) error {
	rng := rand.New(rand.NewPCG(1, uint64(files)))
	for i := range files {
		name := filepath.Join(dir, fileName(i))
		if i%perDirectory == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(name, content(rng, bytes/files), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// descriptor is an OCI descriptor.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// makeImage writes an OCI image layout with one image, named x, of files spread
// evenly over layers.
func makeImage(dir string, files, bytes, layers int) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	const oci = "application/vnd.oci.image."
	var list []descriptor
	var diffs []string
	for l := range layers {
		d, diff, err := makeLayer(blobs, l*files/layers, (l+1)*files/layers, bytes/files)
		if err != nil {
			return err
		}
		d.MediaType = oci + "layer.v1.tar+gzip"
		list, diffs = append(list, d), append(diffs, diff)
	}
	put := func(mediaType string, v any) (descriptor, error) {
		text, err := json.Marshal(v)
		if err != nil {
			return descriptor{}, err
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(text))
		return descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: int64(len(text))}, os.WriteFile(filepath.Join(blobs, sum), text, 0o644)
	}
	config, err := put(oci+"config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		return err
	}
	manifest, err := put(oci+"manifest.v1+json", map[string]any{"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": config, "layers": list})
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "x"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// makeLayer writes the files from first to before last, each of so many bytes.
func makeLayer(blobs string, first, last, bytes int) (descriptor, string, error) {
	f, err := os.CreateTemp(blobs, "layer")
	if err != nil {
		return descriptor{}, "", err
	}
	defer f.Close()
	packed, plain := sha256.New(), sha256.New()
	z := gzip.NewWriter(io.MultiWriter(f, packed))
	t := tar.NewWriter(io.MultiWriter(z, plain))
	rng := rand.New(rand.NewPCG(uint64(first), uint64(last)))
	for i := first; i < last; i++ {
		if i == first || i%perDirectory == 0 {
			if err := t.WriteHeader(&tar.Header{Name: filepath.Dir(fileName(i)) + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
				return descriptor{}, "", err
			}
		}
		if err := t.WriteHeader(&tar.Header{Name: fileName(i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(bytes)}); err != nil {
			return descriptor{}, "", err
		}
		if _, err := t.Write(content(rng, bytes)); err != nil {
			return descriptor{}, "", err
		}
	}
	for _, c := range []io.Closer{t, z} {
		if err := c.Close(); err != nil {
			return descriptor{}, "", err
		}
	}
	fi, err := f.Stat()
	if err != nil {
		return descriptor{}, "", err
	}
	sum := fmt.Sprintf("%x", packed.Sum(nil))
	return descriptor{Digest: "sha256:" + sum, Size: fi.Size()}, fmt.Sprintf("sha256:%x", plain.Sum(nil)), os.Rename(f.Name(), filepath.Join(blobs, sum))
}
