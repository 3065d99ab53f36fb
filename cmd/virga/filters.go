package main

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"virga/storage"
)

// imageFilter is a --filter K=V that chooses images.
type imageFilter struct{ key, value string }

// imageFilters are the keys of list's filters, all that choose images.
var imageFilters = []string{"reference", "label", "label!", "before", "since", "dangling"}

// newImageFilter reads the --filter of a command whose filters have the keys.
func newImageFilter(command, text string, keys []string) (imageFilter, error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return imageFilter{}, usagef("%s: --filter %q is not K=V", command, text)
	}
	if !slices.Contains(keys, key) {
		return imageFilter{}, notOneOf(fmt.Sprintf("%s: --filter %q: the key", command, text), key, keys)
	}
	switch key {
	case "reference":
		if _, err := path.Match(value, ""); err != nil {
			return imageFilter{}, usagef("%s: --filter %q: bad pattern", command, text)
		}
	case "dangling":
		if _, err := strconv.ParseBool(value); err != nil {
			return imageFilter{}, usagef("%s: --filter %q: true or false", command, text)
		}
	}
	return imageFilter{key, value}, nil
}

// apply keeps the images that the filter lets through.
func (f imageFilter) apply(st *storage.Store, images []storage.Image) ([]storage.Image, error) {
	var keep func(storage.Image) (bool, error)
	switch f.key {
	case "reference":
		keep = func(i storage.Image) (bool, error) { return matchReference(f.value, i.Ref), nil }
	case "label":
		keep = func(i storage.Image) (bool, error) { return hasLabel(st, i, f.value) }
	case "label!":
		keep = func(i storage.Image) (bool, error) {
			has, err := hasLabel(st, i, f.value)
			return !has, err
		}
	case "dangling": // every image here has a name
		dangling, _ := strconv.ParseBool(f.value)
		keep = func(storage.Image) (bool, error) { return !dangling, nil }
	case "before", "since":
		than, err := findImage(st, f.value)
		if err != nil {
			return nil, err
		}
		keep = func(i storage.Image) (bool, error) {
			if f.key == "before" {
				return i.Created.Before(than.Created), nil
			}
			return i.Created.After(than.Created), nil
		}
	}
	var out []storage.Image
	for _, i := range images {
		ok, err := keep(i)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, i)
		}
	}
	return out, nil
}

// matchReference matches a pattern with the reference as it is printed, or
// with its name without the tag.
func matchReference(pattern, ref string) bool {
	name := ref
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		name = ref[:i]
	}
	return slices.ContainsFunc([]string{ref, name}, func(s string) bool {
		ok, err := path.Match(pattern, s)
		return ok && err == nil
	})
}

func hasLabel(st *storage.Store, img storage.Image, want string) (bool, error) {
	c, err := st.Config(&img)
	if err != nil {
		return false, err
	}
	key, value, withValue := strings.Cut(want, "=")
	got, ok := c.Config.Labels[key]
	return ok && (!withValue || got == value), nil
}
