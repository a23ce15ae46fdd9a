package tidbcluster

import "fmt"

// Plural is a number of things, for people: "1 pod", "2 pods".
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
