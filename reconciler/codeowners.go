package reconciler

// StaleCodeowners is a placeholder until the real one lands.
func StaleCodeowners(p *Platform, tree *Tree) bool { return false }
