package attest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// The types of the predicates that Collect writes.
const (
	CollectionType = "https://aflock.ai/attestation-collection/v0.1"
	OCIType        = "https://aflock.ai/attestations/oci/v0.1"
)

// OCI is what an image file holds (the oci attestor of aflock's cilock,
// predicate version 0.1). No field is left out; what is absent is null.
type OCI struct {
	TarDigest DigestSet `json:"tardigest"` // of the file; empty for a directory
	Manifest  []Entry   `json:"manifest"`  // manifest.json, all of it
	// ImageTags, DiffIDs and ImageID are of one image in the file.
	ImageTags []string    `json:"imagetags"`
	DiffIDs   []DigestSet `json:"diffids"` // in the order of the layers, bottom first
	ImageID   DigestSet   `json:"imageid"` // of the configuration
	// ManifestRaw is manifest.json as it stands in the file, or of an OCI
	// layout without one, the image's manifest.
	ManifestRaw    []byte    `json:"manifestraw"` // base64 in JSON
	ManifestDigest DigestSet `json:"manifestdigest"`
}

// Entry is an image in manifest.json.
type Entry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Attestation is a member of a collection: what was found out, and when.
type Attestation struct {
	OCI        OCI
	Start, End time.Time
}

// collection is the predicate of CollectionType.
type collection struct {
	Name         string               `json:"name"`
	Attestations []member             `json:"attestations"`
	BackRefs     map[string]DigestSet `json:"backrefs,omitempty"`
}

type member struct {
	Type        string    `json:"type"`
	Attestation OCI       `json:"attestation"`
	Start       time.Time `json:"starttime"`
	End         time.Time `json:"endtime"`
}

// Collect makes the statement of a step of that name. Its subjects are those
// of all attestations, sorted by name: manifestdigest, tardigest, imageid,
// imagetag and layerdiffid, with the digest of what they name; a tag's is that
// of its text.
func Collect(step string, list []Attestation) (*Statement, error) {
	c := collection{Name: step, BackRefs: map[string]DigestSet{}}
	all := map[string]DigestSet{}
	for _, a := range list {
		c.Attestations = append(c.Attestations, member{OCIType, a.OCI, a.Start.UTC(), a.End.UTC()})
		maps.Copy(c.BackRefs, a.OCI.backRefs())
		maps.Copy(all, a.OCI.parts())
	}
	maps.Copy(all, c.BackRefs)
	s := &Statement{Type: StatementType, PredicateType: CollectionType}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.Subject = append(s.Subject, Subject{Name: name, Digest: all[name]})
	}
	var err error
	s.Predicate, err = json.Marshal(c)
	return s, err
}

// backRefs are the subjects by which an attestation is found again.
func (o *OCI) backRefs() map[string]DigestSet {
	m := map[string]DigestSet{}
	name(m, "manifestdigest:", o.ManifestDigest)
	name(m, "imageid:", o.ImageID)
	for _, tag := range o.ImageTags {
		m[OCIType+"/imagetag:"+tag] = Digests(digest.FromString(tag))
	}
	return m
}

// parts are the other subjects.
func (o *OCI) parts() map[string]DigestSet {
	m := map[string]DigestSet{}
	name(m, "tardigest:", o.TarDigest)
	for i, d := range o.DiffIDs {
		name(m, fmt.Sprintf("layerdiffid%02d:", i), d)
	}
	return m
}

// name adds a subject that is named by its SHA-256, if it has one.
func name(m map[string]DigestSet, kind string, d DigestSet) {
	if hex := d["sha256"]; hex != "" {
		m[OCIType+"/"+kind+hex] = d
	}
}

// Images are the OCI attestations of a statement that Collect made.
func (s *Statement) Images() ([]OCI, error) {
	if s.PredicateType != CollectionType {
		return nil, nil
	}
	var c struct {
		Attestations []struct {
			Type        string          `json:"type"`
			Attestation json.RawMessage `json:"attestation"`
		} `json:"attestations"`
	}
	if err := json.Unmarshal(s.Predicate, &c); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	var out []OCI
	for _, a := range c.Attestations {
		if a.Type != OCIType {
			continue
		}
		var o OCI
		if err := json.Unmarshal(a.Attestation, &o); err != nil {
			return nil, fmt.Errorf("statement: attestation %s: %w", OCIType, err)
		}
		out = append(out, o)
	}
	return out, nil
}
