package registry

import (
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"virga/image"
)

// fit grades how well an image for have serves where want is wanted: 0 not at
// all, exact best, in between the older the variant the worse.
func fit(want, have image.Platform) int {
	const exact = 1000
	if want.Matches(have) {
		return exact
	}
	if want.OS != have.OS || want.Arch != have.Arch {
		return 0
	}
	w, h := variantNumber(want), variantNumber(have)
	if w < 0 || h < 0 || h > w {
		return 0
	}
	return 1 + h
}

// variantNumber is the N of variant vN; later ones run programs for earlier
// ones on arm (v7 runs v6 and v5), arm64 (v8.1...) and amd64 (v1-v4). A
// missing variant is the oldest, except that arm64 starts at v8.
func variantNumber(p image.Platform) int {
	if p.Variant == "" {
		switch p.Arch {
		case "arm64":
			return 80
		case "amd64":
			return 10
		}
		return 0
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(p.Variant, "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil || n < 0 || n > 50 {
		return -1
	}
	m, err := strconv.Atoi("0" + minor)
	if err != nil || m > 9 {
		return -1
	}
	return 10*n + m
}

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
