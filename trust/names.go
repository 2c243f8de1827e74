package trust

import (
	"fmt"
	"slices"
)

// name returns names[i], or a form that no parser reads back.
func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("invalid(%d)", i)
	}
	return names[i]
}

func index(names []string, s, what string) (int, error) {
	i := slices.Index(names, s)
	if i < 0 {
		return 0, fmt.Errorf("unknown %s %q", what, truncate(s))
	}
	return i, nil
}
