# One image for API, workers, migrations and the command line. Built from the lock file, nothing else decides versions.
FROM node:22.21.1-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --include=dev --omit=optional
COPY tsconfig.json ./
COPY scripts scripts
COPY migrations migrations
COPY bench bench
COPY src src
RUN node scripts/build.mjs && npm prune --omit=dev --omit=optional

FROM node:22.21.1-bookworm-slim
# bubblewrap is the media jail's wall: without it ffmpeg runs with fewer walls around it.
RUN apt-get update \
  && apt-get install -y --no-install-recommends ffmpeg bubblewrap ca-certificates tini \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json package-lock.json ./
COPY bin bin
COPY scripts scripts
RUN install -d -o node -g node /var/lib/reelkeep /var/lib/reelkeep/scratch /var/lib/reelkeep/stores
ENV NODE_ENV=production SCRATCH_DIR=/var/lib/reelkeep/scratch
USER node
ENTRYPOINT ["tini", "--"]
CMD ["node", "--enable-source-maps", "dist/src/server.js"]
