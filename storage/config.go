package storage

import (
	"fmt"

	"virga/image"
)

// Config returns the configuration of an image, the blob that Image.ID names.
func (s *Store) Config(img *Image) (*image.Config, error) {
	b, err := s.ReadBlob(img.ID)
	if err != nil {
		return nil, fmt.Errorf("image %s: configuration: %w", img.Ref, err)
	}
	c, err := image.ParseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Ref, err)
	}
	return c, nil
}
