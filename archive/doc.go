// Package archive reads and writes images as files: what `docker save` and
// its kin make, OCI image layouts, packed in a tar or not, and SquashFS.
//
// Reading understands
//
//   - the OCI image layout (image-spec, image-layout.md), with nested indexes;
//   - docker-archives: with manifest.json (Docker 1.10 and later), also those
//     that are an OCI layout at the same time (Docker 25 and later, BuildKit);
//   - docker-archives of before, with a directory of VERSION, json and
//     layer.tar for each layer;
//   - the directories that skopeo calls dir:.
//
// What a file says is not believed: sizes and digests of manifests and
// configurations are compared here, those of layers by whoever reads them
// (Layer.Digest, Layer.DiffID). Nothing of a layer is held in memory.
//
//	f, err := archive.Open(file, size)
//	images, err := f.Images(archive.Want{Platform: image.Host()})
//	r, err := images[0].Layers[0].Open()
package archive
