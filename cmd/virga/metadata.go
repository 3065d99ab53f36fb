package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/storage"
)

// buildMetadata is what --metadata-file holds: the keys are buildx's. The
// digest of the manifest is known once the image was pushed or saved.
type buildMetadata struct {
	Config digest.Digest `json:"containerimage.config.digest"`
	Digest digest.Digest `json:"containerimage.digest,omitempty"`
	Names  string        `json:"image.name"` // separated by commas
}

func writeMetadata(file string, tags []image.Reference, img *storage.Image) error {
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = t.String()
	}
	b, err := json.MarshalIndent(buildMetadata{img.ID, img.Digest, strings.Join(names, ",")}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// sourceDateEpoch reads $SOURCE_DATE_EPOCH
// (reproducible-builds.org/specs/source-date-epoch).
func sourceDateEpoch(env *environment) (*time.Time, error) {
	v := env.getenv("SOURCE_DATE_EPOCH")
	if v == "" {
		return nil, nil
	}
	return parseEpoch("$SOURCE_DATE_EPOCH", v)
}

// parseEpoch reads seconds since 1970.
func parseEpoch(what, v string) (*time.Time, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return nil, usagef("%s %q is not a number of seconds since 1970", what, v)
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}
