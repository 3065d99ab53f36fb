package storage

func stressRole(args []string) error { return nil }
