package fault

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// decoder reads JSON whose syntax is known to be right. It goes on after a value
// that is not accepted, to report all of them at once.
type decoder struct {
	tokens  *json.Decoder
	invalid Invalid
	failed  error // of reading; nothing is decoded after it
}

func (d *decoder) decode(into any) error {
	d.value("", d.next(), reflect.ValueOf(into).Elem())
	if d.failed != nil {
		return fmt.Errorf("read JSON: %w", d.failed)
	}
	return d.invalid.err()
}

// next returns the next token: a json.Delim, string, json.Number or bool, or nil
// for null.
func (d *decoder) next() json.Token {
	token, err := d.tokens.Token()
	d.failed = cmp.Or(d.failed, err)
	return token
}

// value decodes the value that starts with a token.
func (d *decoder) value(at string, token json.Token, into reflect.Value) {
	if into.Kind() == reflect.Pointer && token != nil {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if ports, is := reflect.TypeAssert[*api.PortRange](into.Addr()); is {
		d.portRange(at, token, ports)
		return
	}
	switch token := token.(type) {
	case json.Delim:
		d.composite(at, token, into)
	case string:
		d.text(at, token, into)
	case json.Number:
		if !setNumber(into, token.String()) {
			d.refuse(at, token, wanted(into.Type()))
		}
	case bool:
		if into.Kind() != reflect.Bool {
			d.refuse(at, token, wanted(into.Type()))
			return
		}
		into.SetBool(token)
	default:
		d.refuse(at, token, wanted(into.Type())+", or leave it out")
	}
}

func (d *decoder) composite(at string, token json.Delim, into reflect.Value) {
	switch {
	case token == '{' && into.Kind() == reflect.Struct:
		d.object(at, into)
	case token == '[' && into.Kind() == reflect.Slice:
		d.list(at, into)
	default:
		d.refuse(at, token, wanted(into.Type()))
	}
}

func (d *decoder) text(at, token string, into reflect.Value) {
	switch {
	case into.Kind() != reflect.String:
		d.refuse(at, token, wanted(into.Type()))
	case token == "":
		d.refuse(at, token, "want a value, or leave it out")
	default:
		into.SetString(token)
	}
}

// object decodes the members of an object whose brace was read.
func (d *decoder) object(at string, into reflect.Value) {
	fields := jsonFields(into.Type())
	given := make(map[string]bool)
	for d.tokens.More() {
		name, _ := d.next().(string)
		path := joinPath(at, name)
		field, known := fields[name]
		switch {
		case !known:
			d.refuse(path, nil, unknownField(name, fields))
			d.skip(d.next())
		case given[name]:
			d.refuse(path, nil, "want each field once")
			d.skip(d.next())
		default:
			given[name] = true
			d.value(path, d.next(), into.Field(field))
		}
	}
	d.next()
}

// list decodes the elements of a list whose bracket was read. An empty list is
// not nil.
func (d *decoder) list(at string, into reflect.Value) {
	all := reflect.MakeSlice(into.Type(), 0, 0)
	for d.tokens.More() {
		one := reflect.New(into.Type().Elem()).Elem()
		d.value(fmt.Sprintf("%s[%d]", at, all.Len()), d.next(), one)
		all = reflect.Append(all, one)
	}
	d.next()
	into.Set(all)
}

// portRange decodes a number, or a string with a number or a range.
func (d *decoder) portRange(at string, token json.Token, into *api.PortRange) {
	var text string // no port if the token is neither
	switch token := token.(type) {
	case string:
		text = token
	case json.Number:
		text = token.String()
	}
	ports, err := api.ParsePortRange(text)
	if err != nil {
		d.refuse(at, token, api.PortAccepted)
		return
	}
	*into = ports
}

// refuse reports a value, and reads it to its end.
func (d *decoder) refuse(at string, token json.Token, accepted string) {
	value := ""
	switch token := token.(type) {
	case json.Delim:
		value = map[json.Delim]string{'{': "an object", '[': "a list"}[token]
		d.skip(token)
	case nil:
	default:
		value = fmt.Sprint(token)
	}
	if at == "" {
		at = "body"
	}
	d.invalid.add(at, value, accepted)
}

// skip reads the value that starts with a token to its end.
func (d *decoder) skip(token json.Token) {
	if _, isDelim := token.(json.Delim); !isDelim {
		return
	}
	for depth := 1; depth > 0 && d.failed == nil; {
		switch d.next() {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// jsonFields returns the index of each field of a struct by its name in JSON.
func jsonFields(t reflect.Type) map[string]int {
	fields := make(map[string]int)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields[name] = i
	}
	return fields
}

// unknownField says what is wrong with the name of a field.
func unknownField(name string, fields map[string]int) string {
	var names []string
	for known := range fields {
		if strings.EqualFold(known, name) {
			return "no such field: want " + known
		}
		names = append(names, known)
	}
	slices.Sort(names)
	return "no such field: want one of " + strings.Join(names, ", ")
}

// joinPath returns the path of a member. Its name is the user's and may be long.
func joinPath(at, name string) string {
	name = api.Shorten(name)
	if at == "" {
		return name
	}
	return at + "." + name
}

// setNumber stores a JSON number, and returns false if it does not fit. Integers
// have neither a fraction nor an exponent.
func setNumber(into reflect.Value, text string) bool {
	switch {
	case into.CanInt():
		n, err := strconv.ParseInt(text, 10, into.Type().Bits())
		into.SetInt(n)
		return err == nil
	case into.CanUint():
		n, err := strconv.ParseUint(text, 10, into.Type().Bits())
		into.SetUint(n)
		return err == nil
	case into.CanFloat():
		f, err := strconv.ParseFloat(text, 64)
		into.SetFloat(f)
		return err == nil
	default:
		return false
	}
}

// wanted says which JSON value a Go type is written as.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "want a string"
	case reflect.Bool:
		return "want true or false"
	case reflect.Slice:
		return "want a list"
	case reflect.Struct:
		return "want an object"
	case reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("want a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Int, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("want a whole number from %d to %d", int64(-1)<<(t.Bits()-1), int64(1)<<(t.Bits()-1)-1)
	default:
		return "want a number"
	}
}
