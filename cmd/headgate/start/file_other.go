//go:build !linux

package start

// forgetFile does nothing: other systems have no way to ask what may be given back.
func forgetFile() {}
