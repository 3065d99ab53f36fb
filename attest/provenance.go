package attest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// ProvenanceType is the type of the predicate Provenance, BuildType what its
// parameters are (docs/attestations.md), BuilderID who says so.
const (
	ProvenanceType = "https://slsa.dev/provenance/v1"
	BuildType      = "urn:virga:dockerfile-build:v1"
	BuilderID      = "urn:virga:build"
)

// Provenance is how an image was made (SLSA, "Build: Provenance" v1).
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what went in.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   Parameters `json:"externalParameters"`
	InternalParameters   Host       `json:"internalParameters"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// Parameters are what whoever started the build chose.
type Parameters struct {
	Dockerfile Resource           `json:"dockerfile"`
	Target     string             `json:"target,omitempty"`
	Platform   string             `json:"platform"`
	Args       map[string]*string `json:"buildArgs,omitempty"` // nil: the value is not told
	Labels     map[string]string  `json:"labels,omitempty"`
	Epoch      *int64             `json:"sourceDateEpoch,omitempty"`
	Squash     bool               `json:"squash,omitempty"`
	// Secrets and SSH are the ids of what RUN could ask for.
	Secrets []string `json:"secrets,omitempty"`
	SSH     []string `json:"ssh,omitempty"`
	// Binds are where directories of the host were mounted for RUN.
	Binds []string `json:"binds,omitempty"`
}

// Host is what the host made of it.
type Host struct {
	Isolation string `json:"isolation"`                // userns or chroot
	Emulation string `json:"emulation"`                // the mode of root emulation
	Level     string `json:"emulationLevel,omitempty"` // how well the kernel lets it be done; "" if nothing is emulated
}

// Resource is a thing that went in or came out (in-toto,
// spec/v1/resource_descriptor.md).
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      DigestSet         `json:"digest,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Content     []byte            `json:"content,omitempty"` // base64 in JSON
	Annotations map[string]string `json:"annotations,omitempty"`
}

// RunDetails is who built, and when.
type RunDetails struct {
	Builder  Builder  `json:"builder"`
	Metadata Metadata `json:"metadata"`
}

// Builder is the program.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// Metadata are the times of a build.
type Metadata struct {
	StartedOn  time.Time `json:"startedOn"`
	FinishedOn time.Time `json:"finishedOn"`
}

// Built makes the statement that the predicate, a Provenance, is true of the
// subjects.
func Built(subjects []Subject, predicate []byte) *Statement {
	return &Statement{Type: StatementV1, Subject: subjects, PredicateType: ProvenanceType, Predicate: json.RawMessage(predicate)}
}

// Untold are the arguments of a build with nil for each value that may be a
// secret: that of a name which says so, a proxy's, a malformed address with a
// password. Addresses are without user and password.
func Untold(args map[string]string) map[string]*string {
	out := make(map[string]*string, len(args))
	for k, v := range args {
		shown := WithoutUser(v)
		if out[k] = nil; !secretName(k) && (shown != "" || v == "") {
			out[k] = &shown
		}
	}
	return out
}

func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"token", "secret", "passw", "pwd", "credential", "private", "auth", "key", "_proxy"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// WithoutUser is an address without the user and password in it, "" if it
// cannot be told what they are. What is no address stays as it is.
func WithoutUser(address string) string {
	if !strings.Contains(address, "@") || !strings.Contains(address, "://") {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.User == nil {
		return address
	}
	u.User = nil
	return u.String()
}

// ImageURI names an image of a registry as a package URL (purl-spec, type
// docker). name is its repository with the tag.
func ImageURI(name, platform string) string {
	repo, tag := name, ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		repo, tag = name[:i], "@"+name[i+1:]
	}
	return fmt.Sprintf("pkg:docker/%s%s?platform=%s", repo, tag, url.QueryEscape(platform))
}
