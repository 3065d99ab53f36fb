package exchange

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/registry"
)

// maxOrigins bounds what is remembered of one registry.
const maxOrigins = 5000

// originsNote is the note that says which repository of a registry has a
// blob: from there it can be mounted, without a byte sent.
func (x *Exchange) originsNote(host string) string {
	return x.store.NotePath(fmt.Sprintf("origins-%x", sha256.Sum256([]byte(host)))[:40])
}

func (x *Exchange) origins(host string) map[digest.Digest]string {
	known := map[digest.Digest]string{}
	b, err := os.ReadFile(x.originsNote(host))
	if err != nil || json.Unmarshal(b, &known) != nil {
		return map[digest.Digest]string{}
	}
	return known
}

// sawAt remembers that a repository has the blobs. Two processes may lose
// each other's words, which costs a transfer.
func (x *Exchange) sawAt(ref image.Reference, blobs []registry.Descriptor) {
	known := x.origins(ref.Host)
	was := maps.Clone(known)
	for _, d := range blobs {
		known[d.Digest] = ref.Path
	}
	if maps.Equal(known, was) {
		return
	}
	for d := range known {
		if len(known) <= maxOrigins {
			break
		}
		delete(known, d)
	}
	b, err := json.Marshal(known)
	if err == nil {
		err = writeNote(x.originsNote(ref.Host), b)
	}
	if err != nil {
		x.log.Debug("origin of layers not noted", "registry", ref.Host, "cause", err)
	}
}
