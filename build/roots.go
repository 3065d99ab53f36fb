package build

import "virga/storage"

// Roots tells which images the states of the build cache stand on: references
// by the key that is the parent of an image's first states. "scratch" is its
// own key.
func Roots(store *storage.Store, images []storage.Image) (map[string][]string, error) {
	out := map[string][]string{"scratch": {"scratch"}}
	for i := range images {
		config, err := store.Config(&images[i])
		if err != nil {
			return nil, err
		}
		for _, real := range []bool{false, true} {
			key := baseKey(config, real)
			out[key] = append(out[key], images[i].Ref)
		}
	}
	return out, nil
}
