package plugin

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidelay/tidelay/pkg/networkfault/selector"
)

// meant ends a sentence about a wrong word with the right ones that are near to it, or else
// with all of them.
func meant(word string, right []string) string {
	near := nearest(word, right)
	switch {
	case len(near) > 0:
		return "; did you mean " + strings.Join(near, " or ") + "?"
	case len(right) > 0:
		return "; want " + strings.Join(right, ", ")
	default:
		return ""
	}
}

// accepted ends a sentence about a wrong word with all right ones, which are few, and tells those
// that are near to it.
func accepted(word string, right []string) string {
	text := "; want " + strings.Join(right, ", ")
	if near := nearest(word, right); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return text
}

// How far a word may be from the one that is meant, in letters that are changed, and how many
// words may be so near. Beyond that it is another word, and no help.
const (
	maxChanged = 2
	maxNear    = 5
)

// nearest returns the words that are nearest to a wrong one, by name: those that begin as it
// does, or differ in few letters; or else those that have all of its parts, as tikv-one-slow
// has those of tikv-slow. There may be none: a guess that is far off helps nobody.
func nearest(word string, right []string) []string {
	if word == "" {
		return nil
	}
	of := func(is func(one string) bool) []string {
		return slices.DeleteFunc(slices.Clone(right), func(one string) bool { return !is(one) })
	}
	if same := of(func(one string) bool { return strings.EqualFold(one, word) }); len(same) > 0 {
		return few(same)
	}
	all := &cobra.Command{} // which finds what is near as it does for verbs
	for _, one := range right {
		all.AddCommand(&cobra.Command{Use: one, Run: func(*cobra.Command, []string) {}})
	}
	for changed := 0; changed <= maxChanged && changed < len(word); changed++ {
		all.SuggestionsMinimumDistance = changed
		near := all.SuggestionsFor(word)
		switch changed {
		case 1:
			near = append(near, of(func(one string) bool { return isSwapped(one, word) })...)
		case maxChanged: // people seldom miss the first letter too
			near = slices.DeleteFunc(near, func(one string) bool { return !strings.EqualFold(one[:1], word[:1]) })
		}
		if len(near) > 0 {
			return few(near)
		}
	}
	return few(of(func(one string) bool { return hasParts(one, word) }))
}

// isSwapped reports whether two words differ by two letters that have changed places.
func isSwapped(a, b string) bool {
	for i := 1; i < len(a) && len(a) == len(b); i++ {
		if a[i-1] != b[i-1] {
			return a[i-1] == b[i] && a[i] == b[i-1] && a[i+1:] == b[i+1:]
		}
	}
	return false
}

// few returns words in order, each once; none if they are many.
func few(words []string) []string {
	slices.Sort(words)
	if words = slices.Compact(words); len(words) > maxNear {
		return nil
	}
	return words
}

// hasParts reports whether a name has all parts of another one, which are between dashes.
func hasParts(name, parts string) bool {
	has := strings.Split(name, "-")
	return !slices.ContainsFunc(strings.Split(parts, "-"), func(part string) bool { return !slices.Contains(has, part) })
}

// wrongSide is what selectors are told that can't be read. flag is where they were written.
func wrongSide(flag string, err error) error {
	if wrong, is := errors.AsType[*selector.Error](err); is {
		if near := nearest(wrong.Word, wrong.Right); len(near) > 0 {
			return usage("%s: %w; did you mean %s?", flag, err, strings.Join(near, " or "))
		}
	}
	return usage("%s: %w", flag, err)
}

// flagError is what a wrong flag is told.
func flagError(cmd *cobra.Command, err error) error {
	unknown, is := errors.AsType[*pflag.NotExistError](err)
	if is && cmd.Name() == "set" && strings.ContainsAny(unknown.GetSpecifiedName(), "0123456789.") {
		return usage("RTT -%s: %s", unknown.GetSpecifiedShortnames(), notEarly)
	}
	if !is || unknown.GetSpecifiedName() == "" {
		return usage("%w", err)
	}
	var right []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { right = append(right, f.Name) })
	near := nearest(unknown.GetSpecifiedName(), right)
	if len(near) == 0 {
		return usage("%w", err)
	}
	return usage("%w; did you mean --%s?", err, strings.Join(near, " or --"))
}

// exactly wants some arguments, of which words says what they are.
func exactly(n int, words string) cobra.PositionalArgs {
	return between(n, n, words)
}

func between(least, most int, words string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least && len(args) == 0:
			return usage("want %s", words)
		case len(args) < least || len(args) > most:
			return usage("want %s, and not %q", words, args)
		case slices.Contains(args, ""):
			return usage("want %s, and not an empty one", words)
		}
		return nil
	}
}
