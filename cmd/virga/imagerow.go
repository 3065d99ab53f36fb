package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"virga/image"
	"virga/storage"
)

// imageRow is an image as list shows it. The names of the members are those of
// `docker images --format`, so templates written for it work.
type imageRow struct {
	Reference  string
	Repository string
	Tag        string
	ID         string
	Digest     string
	CreatedAt  string
	Size       string
	Platform   string
}

func newImageRow(img storage.Image) imageRow {
	r := imageRow{
		Reference: img.Ref, Repository: img.Ref, Tag: "<none>", ID: shortID(img.ID), Digest: "<none>", CreatedAt: "-",
		Size: humanSize(img.Size), Platform: img.Platform.String(),
	}
	if ref, err := image.ParseReference(img.Ref); err == nil {
		r.Repository = ref.Name()
		if ref.Tag != "" {
			r.Tag = ref.Tag
		}
	}
	switch {
	case img.IndexDigest != "":
		r.Digest = img.IndexDigest.String()
	case img.Digest != "":
		r.Digest = img.Digest.String()
	}
	if !img.Created.IsZero() {
		r.CreatedAt = img.Created.UTC().Format(time.DateTime)
	}
	return r
}

func printTable(w io.Writer, rows []imageRow, digests bool) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(r imageRow) {
		cells := []string{r.Repository, r.Tag}
		if digests {
			cells = append(cells, r.Digest)
		}
		cells = append(cells, r.ID, r.CreatedAt, r.Size, r.Platform)
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	line(imageRow{
		Repository: "REPOSITORY", Tag: "TAG", Digest: "DIGEST", ID: "IMAGE ID", CreatedAt: "CREATED", Size: "SIZE",
		Platform: "PLATFORM",
	})
	for _, r := range rows {
		line(r)
	}
	return tw.Flush()
}
