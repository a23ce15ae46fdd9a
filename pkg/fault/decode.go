package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Decode reads one JSON value. It refuses unknown fields, because to ignore a
// misspelt one would make a fault that is not quite the one asked for. The error
// is an Invalid.
func Decode(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return bodyError("body", "more after the first value", "want one JSON object and nothing behind it")
		}
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return bodyError("body", "", "want a JSON object")
	case errors.As(err, &wrongType):
		field := wrongType.Field
		if field == "" {
			field = "body"
		}
		return bodyError(field, wrongType.Value, "want "+jsonKind(wrongType.Type.Kind().String()))
	case errors.As(err, &syntax):
		return bodyError("body", fmt.Sprintf("offset %d", syntax.Offset), "want JSON: "+syntax.Error())
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return bodyError(strings.Trim(name, `"`), "", "no such field; see /openapi.json for those there are")
	}
	return bodyError("body", "", "want JSON as /openapi.json has it: "+err.Error())
}

func bodyError(field, value, accepted string) error {
	return Invalid{{Field: field, Value: value, Accepted: accepted}}
}

// jsonKind says which kind of JSON value a Go kind is written as.
func jsonKind(kind string) string {
	switch {
	case kind == "string":
		return "a string"
	case kind == "bool":
		return "true or false"
	case kind == "slice":
		return "a list"
	case kind == "struct" || kind == "ptr" || kind == "map":
		return "an object"
	case strings.HasPrefix(kind, "uint"):
		return "a whole number, not negative"
	case strings.HasPrefix(kind, "int"):
		return "a whole number"
	default:
		return "a number"
	}
}
