package registry

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"virga/image"
)

// platformOf reads a descriptor's platform; ok is false if it has none.
func platformOf(d v1.Descriptor) (p image.Platform, ok bool) {
	if d.Platform == nil || d.Platform.OS == "" && d.Platform.Architecture == "" {
		return image.Platform{}, false
	}
	return image.Platform{OS: d.Platform.OS, Arch: d.Platform.Architecture, Variant: d.Platform.Variant}, true
}

// isAttestation reports whether an entry of an index is no image but speaks
// about one (BuildKit's attestation storage format).
func isAttestation(d v1.Descriptor) bool {
	if d.Annotations["vnd.docker.reference.type"] != "" {
		return true
	}
	p, ok := platformOf(d)
	return ok && p.OS == "unknown" && p.Arch == "unknown" || d.ArtifactType != ""
}
