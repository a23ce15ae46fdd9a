package httpapi

import (
	_ "embed"
	"net/http"

	"github.com/gin-gonic/gin"
)

// openAPI describes the API in OpenAPI 3.1. The tests compare it with the
// routes, the wire types and real answers.
//
//go:embed openapi.json
var openAPI []byte

func getOpenAPI(c *gin.Context) {
	c.Data(http.StatusOK, "application/openapi+json;version=3.1", openAPI)
}
