package storage

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"virga/fakeroot"
)

// ownersRecord is owners.json. JSON strings are Unicode and file names are
// bytes, so names that are not UTF-8 go into Raw, in base64.
type ownersRecord struct {
	Format int                        `json:"format"`
	Paths  map[string]fakeroot.Record `json:"paths"`
	Raw    map[string]fakeroot.Record `json:"raw,omitempty"`
}

const ownersFormat = 1

func encodeOwners(t fakeroot.Table) ([]byte, error) {
	rec := ownersRecord{Format: ownersFormat, Paths: t}
	for p := range t {
		if utf8.ValidString(p) {
			continue
		}
		if rec.Raw == nil {
			rec.Raw = map[string]fakeroot.Record{}
		}
		rec.Raw[base64.StdEncoding.EncodeToString([]byte(p))] = t[p]
	}
	if rec.Raw != nil {
		rec.Paths = make(map[string]fakeroot.Record, len(t))
		for p, r := range t {
			if utf8.ValidString(p) {
				rec.Paths[p] = r
			}
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("BUG: owner records: %w", err)
	}
	return append(b, '\n'), nil
}

func decodeOwners(b []byte) (fakeroot.Table, error) {
	var rec ownersRecord
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, err
	}
	if rec.Format != ownersFormat {
		return nil, fmt.Errorf("format %d of owner records is not known", rec.Format)
	}
	t := fakeroot.Table(rec.Paths)
	if t == nil {
		t = fakeroot.Table{}
	}
	for enc, r := range rec.Raw {
		p, err := base64.StdEncoding.DecodeString(enc)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", enc, err)
		}
		t[string(p)] = r
	}
	return t, nil
}
