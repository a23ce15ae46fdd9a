# Root, because NET_ADMIN given to a container is effective only for its root.
FROM scratch
COPY agent /agent
USER 0:0
ENTRYPOINT ["/agent"]
