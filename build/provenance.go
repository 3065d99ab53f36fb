package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"virga/attest"
	"virga/fakeroot"
	"virga/image"
	"virga/parser"
	"virga/storage"
)

// Provenance asks for a record of how the image is made, and says what of it a
// build does not know itself.
type Provenance struct {
	Version        string // of this program
	Dockerfile     []byte
	DockerfileName string // below the context, or its last component
	Context        string // address of a context that was fetched, "" for others
	Commit         string // of a context from a git repository
}

// dependency notes what the build has read from outside.
func (b *builder) dependency(r attest.Resource) {
	if b.Provenance == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read = append(b.read, r)
}

// usedImage notes an image that FROM or --from names. One that was made here,
// and is known to no registry, has its id only.
func (b *builder) usedImage(ref image.Reference, img *storage.Image) {
	name := ref.Name()
	if ref.Tag != "" {
		name += ":" + ref.Tag
	}
	r := attest.Resource{
		Name: "image " + name, Digest: attest.Digests(cmp.Or(img.Digest, img.ID)),
		Annotations: map[string]string{"imageID": img.ID.String()},
	}
	if img.Digest != "" {
		r.URI = attest.ImageURI(name, img.Platform.String())
	}
	if img.IndexDigest != "" {
		r.Annotations["indexDigest"] = img.IndexDigest.String()
	}
	b.dependency(r)
}

// provenance stores the record of the build, if one was asked for, and returns
// its digest.
func (b *builder) provenance(ctx context.Context) (digest.Digest, error) {
	if b.Provenance == nil {
		return "", nil
	}
	p := attest.Provenance{
		BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildType, ExternalParameters: b.parameters(), InternalParameters: b.host()},
		RunDetails: attest.RunDetails{
			Builder:  attest.Builder{ID: attest.BuilderID, Version: map[string]string{"virga": b.Provenance.Version}},
			Metadata: attest.Metadata{StartedOn: b.start, FinishedOn: b.now()},
		},
	}
	var err error
	if p.BuildDefinition.ResolvedDependencies, err = b.dependencies(ctx); err != nil {
		return "", fmt.Errorf("provenance: %w", err)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	return b.store.AddBlob(ctx, raw)
}

func (b *builder) parameters() attest.Parameters {
	p := attest.Parameters{
		Dockerfile: attest.Resource{
			Name: b.Provenance.DockerfileName, MediaType: "text/x-dockerfile",
			Digest: attest.Digests(digest.FromBytes(b.Provenance.Dockerfile)), Content: b.Provenance.Dockerfile,
		},
		Target: b.Target, Platform: b.Platform.String(), Args: attest.Untold(b.Args), Labels: b.Labels, Squash: b.Squash,
		Secrets: slices.Sorted(maps.Keys(b.Secrets)), SSH: slices.Sorted(maps.Keys(b.SSH)),
	}
	if b.Epoch != nil {
		t := b.Epoch.Unix()
		p.Epoch = &t
	}
	for _, m := range b.Binds {
		p.Binds = append(p.Binds, m.Destination)
	}
	return p
}

func (b *builder) host() attest.Host {
	h := attest.Host{Isolation: "userns", Emulation: b.Force.Mode.String()}
	switch {
	case b.Chroot:
		h.Isolation, h.Emulation = "chroot", fakeroot.ModeNone.String()
	case b.Force.Mode != fakeroot.ModeNone:
		h.Level = b.level().String()
	}
	return h
}

// dependencies are all that was read, each once, in an order that does not
// depend on which stage was first.
func (b *builder) dependencies(ctx context.Context) ([]attest.Resource, error) {
	all := slices.Clone(b.read)
	if b.ctxSrc != nil {
		r, err := b.ctxSrc.resource(ctx, "context", b.Provenance.Commit != "")
		if err != nil {
			return nil, err
		}
		r.URI = attest.WithoutUser(b.Provenance.Context)
		if b.Provenance.Commit != "" {
			r.Digest["gitCommit"] = b.Provenance.Commit
		}
		all = append(all, r)
	}
	for name, src := range b.dirs {
		r, err := src.resource(ctx, "context "+name, false)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	order := func(r attest.Resource) string { return fmt.Sprint(r.Name, " ", r.URI, " ", r.Digest) }
	slices.SortFunc(all, func(x, y attest.Resource) int { return cmp.Compare(order(x), order(y)) })
	return slices.CompactFunc(all, func(x, y attest.Resource) bool { return order(x) == order(y) }), nil
}

// resource is a context by the digest of its files' names and contents, but
// for those of git if git made it. What .dockerignore excludes is not in it.
func (s *source) resource(ctx context.Context, name string, git bool) (attest.Resource, error) {
	matches, err := findAll(ctx, s.find, []parser.Word{{Text: "."}}, nil)
	if err != nil {
		return attest.Resource{}, err
	}
	var lines []string
	for _, m := range matches {
		sums, err := s.sums(ctx, m.items)
		if err != nil {
			return attest.Resource{}, err
		}
		for i, it := range m.items {
			if !it.is(unix.S_IFREG) || git && strings.HasPrefix(it.rel, ".git/") {
				continue
			}
			if strings.Contains(it.rel, "\n") { // as dirhash has it: it could be taken for two files
				return attest.Resource{}, fmt.Errorf("context file %q: a name with a line break has no place in a digest of the context", it.rel)
			}
			lines = append(lines, dirHashLine(it.rel, sums[i]))
		}
	}
	return attest.Resource{Name: name, Digest: attest.DigestSet{"dirHash": dirHash(lines)}}, nil
}

// dirHashLine is a file in the list that dirHash digests.
func dirHashLine(name string, s sum) string { return name + "\x00" + hex.EncodeToString(s[:]) }

// dirHash is the digest of a list of files (golang.org/x/mod/sumdb/dirhash,
// Hash1, as in-toto's spec/v1/digest_set.md writes it).
func dirHash(lines []string) string {
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range lines {
		name, sum, _ := strings.Cut(l, "\x00")
		fmt.Fprintf(h, "%s  %s\n", sum, name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
