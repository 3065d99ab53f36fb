package registry

// RegistriesConf is containers-registries.conf(5), version 2: mirrors,
// blocked and insecure registries, short-name aliases.
type RegistriesConf struct{}

// LoadRegistriesConf reads file and the *.conf of each drop-in directory, in
// order; later ones replace tables of the same prefix. Missing ones are empty.
func LoadRegistriesConf(file string, dropIns ...string) (*RegistriesConf, error) {
	panic("BUG: not yet")
}

// Expand replaces a short name that has an alias, keeping tag and digest.
// Other names are returned as they are.
func (r *RegistriesConf) Expand(name string) string {
	panic("BUG: not yet")
}
